import { createKeyRing, type KeyRing, readKeyRing, readPublicKey } from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { certifiedKey, type FleetCa, parseCertificates, type ReceiptTexts } from '@csc-fleet/common/evidence';
import { readPem } from '@csc-fleet/common/files';
import type { Command } from 'commander';
import { append } from '../action/options.ts';

const maxPemBytes = 1024 * 1024;

/** What receipts are verified with: exactly one of the three. */
export interface TrustOptions {
  readonly publicKey?: string;
  readonly keyId?: string;
  /** A key ring file. */
  readonly keys?: string;
  /** The fleet's CA, PEM; `ca` is its name where no gate is asked, from the time before it had the other. */
  readonly fleetCa?: string;
  readonly ca?: string;
  /** Whose executors count; none: any. */
  readonly trustDomain?: readonly string[];
}

/** The key ring for a receipt. Throws RECEIPT_INVALID where its certificates do not prove whose it is. */
export type RingFor = (texts: ReceiptTexts) => KeyRing;

/** A CA may certify for several fleets, and a receipt need not say of which it is. */
export const trustDomainOption: [flags: string, description: string, collect: typeof append] = [
  '--trust-domain <name>',
  'whose executors count; repeatable (default: those of one, which is then named)',
  append,
];

/** Whose an executor is, as the keys say that its receipts verify with. */
export function describeDomains(trustDomains: readonly string[]): string {
  return trustDomains.length === 0
    ? 'WHOSE TRUST DOMAIN ITS KEY DOES NOT SAY'
    : `of the trust domain ${trustDomains.join(' and ')}`;
}

/** Adds the options that say which keys count. */
export function addTrustOptions(command: Command): Command {
  return command
    .option('--public-key <file>', 'Ed25519 public key: 32 raw bytes, or SPKI PEM')
    .option('--key-id <id>', 'the id that this key signs under')
    .option('--keys <file>', 'a key ring file, instead of the two above')
    .option('--fleet-ca <file>', 'the fleet’s CA, PEM: receipts bring certificates of their keys (or: --ca)')
    .option(...trustDomainOption)
    .addOption(command.createOption('--ca <file>').hideHelp());
}

/** True where exactly one kind of trust is named. */
export function hasOneTrust({ publicKey, keyId, keys, fleetCa, ca }: TrustOptions): boolean {
  const one = publicKey !== undefined && keyId !== undefined;
  const half = (publicKey !== undefined || keyId !== undefined) && !one;
  return (
    !half && [one, keys !== undefined, fleetCa !== undefined, ca !== undefined].filter(Boolean).length === 1
  );
}

/** Reads the files that the options name. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readTrust({ publicKey, keyId, keys, fleetCa, ca = fleetCa }: TrustOptions): RingFor {
  if (ca !== undefined) {
    const parsed = readFleetCa(ca);
    return (texts) => certifiedRing(texts, parsed);
  }
  const ring =
    keys === undefined
      ? createKeyRing([{ keyId: keyId ?? '', publicKey: readPublicKey(publicKey ?? '') }])
      : readKeyRing(keys);
  return () => ring;
}

function readFleetCa(path: string): FleetCa {
  const { bytes, origin } = readPem(path, '--fleet-ca', maxPemBytes);
  try {
    return parseCertificates(bytes, origin);
  } catch (cause) {
    if (!isCscError(cause, 'CONFIG_INVALID')) throw cause;
    throw new CscError('KEY_INVALID', cause.message, { cause });
  }
}

function certifiedRing(texts: ReceiptTexts, ca: FleetCa): KeyRing {
  const key = certifiedKey(texts, ca);
  if (key !== undefined) return createKeyRing([key]);
  const message =
    'the receipt brings no certificate of the key that it is signed with: verify it with --keys';
  throw new CscError('RECEIPT_INVALID', message);
}
