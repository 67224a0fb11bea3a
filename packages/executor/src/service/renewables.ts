import { join } from 'node:path';
import {
  createReloadableSigner,
  type KeyRing,
  type ReloadableKeyRing,
  type Signer,
} from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { looksOfFile } from '@csc-fleet/common/files';
import { certificatesIn } from '@csc-fleet/common/identity';
import type { Renewable } from '@csc-fleet/common/service';
import type { SecretProvider } from '../secrets/index.ts';
import type { ExecutorConfig } from './config.ts';
import { readOwnersGateKeys } from './owners-files.ts';
import { defaultKeyFile, readReceiptSigner, rereadReceiptSigner, withCertificates } from './signing-key.ts';

type SignerConfig = Pick<ExecutorConfig, 'stateDir'> &
  Partial<Pick<ExecutorConfig, 'signingKey' | 'receiptCertificate'>>;

/** Who signs the receipts: a key of its own, with the certificates of it where the config names some. */
export function readCertifiedSigner(
  { stateDir, signingKey, receiptCertificate }: SignerConfig,
  { executorId, identity }: { readonly executorId: string; readonly identity: string },
  read: typeof readReceiptSigner = readReceiptSigner,
): Signer {
  const signer = read(executorId, stateDir, signingKey);
  return receiptCertificate === undefined ? signer : withCertificates(signer, receiptCertificate, identity);
}

/**
 * The same, to be read again while the executor runs.
 * @param changed called once another key signs: the gate is to be told
 */
export function renewableSigner(
  config: SignerConfig,
  self: { readonly executorId: string; readonly identity: string },
  changed: () => void,
): { readonly signer: Signer; readonly renewable: Renewable } {
  const signer = createReloadableSigner(readCertifiedSigner(config, self));
  const { signingKey = join(config.stateDir, defaultKeyFile), receiptCertificate } = config;
  const sources = [signingKey, ...(receiptCertificate === undefined ? [] : [receiptCertificate])];
  const renewable: Renewable = {
    name: receiptCertificate === undefined ? 'signing_key' : 'signing_key and receipt_certificate',
    looks: () => sources.map(looksOfFile).join(' '),
    prepare: () => {
      const next = readCertifiedSigner(config, self, rereadReceiptSigner);
      const isOther = next.keyId !== signer.keyId;
      if (!isOther && String(next.certificates) === String(signer.certificates)) return undefined;
      return () => {
        signer.replace(next);
        if (isOther) changed();
      };
    },
    certificates: () =>
      (signer.certificates ?? []).flatMap((der) =>
        certificatesIn(toPem(der), receiptCertificate ?? 'receipt_certificate'),
      ),
  };
  return { signer, renewable };
}

function toPem(der: string): Buffer {
  return Buffer.from(`-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`);
}

/** The keys of the gates whose tickets count here. */
export function renewableGateKeys(path: string, keys: ReloadableKeyRing): Renewable {
  return {
    name: 'trusted_gate_keys',
    looks: () => looksOfFile(path),
    prepare: () => {
      const next = readOwnersGateKeys(path);
      if (describe(next) === describe(keys)) return undefined;
      return () => keys.replace(next);
    },
  };
}

function describe(keys: KeyRing): string {
  return JSON.stringify(keys.entries().map((it) => ({ ...it, publicKey: [...it.publicKey] })));
}

/** Secrets of a provider that may be replaced while it is in use; each run asks one. */
export type ReloadableSecrets = SecretProvider & { replace(next: SecretProvider | undefined): void };

export function createReloadableSecrets(first: SecretProvider | undefined): ReloadableSecrets {
  let current = first;
  const provider = (): SecretProvider => {
    if (current !== undefined) return current;
    const message = "this host has no secrets: the executor's config has no `secrets`";
    throw new CscError('SANDBOX_UNAVAILABLE', message);
  };
  return {
    read: async (name, options) => provider().read(name, options),
    check: () => current?.check?.(),
    close: () => current?.close?.(),
    replace: (next) => {
      current = next;
    },
  };
}
