import {
  createCertifiedRing,
  createKeyRing,
  type KeyEntry,
  type KeyRing,
  readKeyRing,
  readPublicKey,
} from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { certifiedKey, type FleetCa, parseCertificates, type ReceiptTexts } from '@csc-fleet/common/evidence';
import { readPem } from '@csc-fleet/common/files';
import type { Command } from 'commander';
import { append } from '../action/options.ts';

const maxPemBytes = 1024 * 1024;

/** What receipts are verified with: one of the three at least. */
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
    .option('--keys <file>', 'a key ring file, instead of the two above or beside them')
    .option('--fleet-ca <file>', 'the fleet’s CA, PEM: receipts bring certificates of their keys (or: --ca)')
    .option(...trustDomainOption)
    .addOption(command.createOption('--ca <file>').hideHelp());
}

/** Ends the command, as its line is wrong, unless one kind of trust at least is named, and none by half. */
export function requireTrust(command: Command, options: TrustOptions): void {
  const { publicKey, keyId, keys, fleetCa, ca } = options;
  if ((publicKey === undefined) !== (keyId === undefined))
    command.error('error: --public-key and --key-id go together: give both, or neither');
  if ((publicKey ?? keys ?? fleetCa ?? ca) === undefined)
    command.error(
      'error: it is not said what to verify with: give --fleet-ca FILE, --keys FILE or both, or --public-key FILE and --key-id ID',
    );
}

/** Reads the files that the options name. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readTrust({ publicKey, keyId, keys: ring, fleetCa, ca = fleetCa }: TrustOptions): RingFor {
  const trust = readTrustFiles({ fleetCa: ca, keys: ring === undefined ? [] : [ring] });
  if (publicKey === undefined || keyId === undefined) return ringBy(trust);
  return ringBy({ ...trust, keys: [...trust.keys, { keyId, publicKey: readPublicKey(publicKey) }] });
}

/** Where receipts may be verified with keys and with a CA: the files of both. */
export interface TrustFiles {
  readonly fleetCa?: string | undefined;
  /** Key ring files. */
  readonly keys: readonly string[];
}

/** What receipts are verified with; either may be empty. */
export interface Trust {
  readonly ca: FleetCa;
  readonly keys: readonly KeyEntry[];
}

/** Throws FILE_UNREADABLE or KEY_INVALID. */
export function readTrustFiles({ fleetCa, keys }: TrustFiles): Trust {
  return {
    ca: fleetCa === undefined ? [] : readFleetCa(fleetCa),
    keys: keys.flatMap((file) => readKeyRing(file).entries()),
  };
}

/** The same where one of them at least must be named. Throws CONFIG_INVALID otherwise. */
export function readGivenTrust(files: TrustFiles): RingFor {
  if (files.fleetCa === undefined && files.keys.length === 0)
    throw new CscError(
      'CONFIG_INVALID',
      'receipts of files are verified with --keys or --fleet-ca: give one of them, or both',
    );
  return ringBy(readTrustFiles(files));
}

/**
 * Whose a key is: by the receipt's certificates, where it brings some and there is a CA, and else by the keys. A key
 * that these say is revoked is revoked either way.
 */
export function ringBy({ ca, keys }: Trust): RingFor {
  const pinned = createKeyRing(keys);
  return (texts) => {
    const certified = ca.length === 0 ? undefined : certifiedKey(texts, ca);
    if (certified !== undefined) return createCertifiedRing(certified, keys);
    if (keys.length > 0) return pinned;
    const message =
      'the receipt brings no certificate of the key that it is signed with: verify it with --keys';
    throw new CscError('RECEIPT_INVALID', message);
  };
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
