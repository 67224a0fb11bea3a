import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { makeDirectory, makeFile, readBoundedFile } from '@csc-fleet/common/files';
import { type Issuer, makeIssuing, makeRoot, toCertificate } from '@csc-fleet/common/pki';
import type { CaConfig } from './config.ts';

/** What a new CA is to be. */
export interface CaPlan {
  readonly trustDomain: string;
  /** That the CA is dialled by. */
  readonly hosts: readonly string[];
  /** DNS names, with all below them, and addresses that gates and this CA may be certified for, beside `hosts`. */
  readonly permit: readonly string[];
  readonly listen: string;
  readonly lifeSec: number;
  /** Of the root's key and the issuing key. Absent: they are protected by their files' mode. */
  readonly passphraseFile?: string;
}

const maxBytes = 64 * 1024;

/**
 * Makes the folder of a CA: root and issuing CA, each certificate and key, and the config. What is there stays; so an
 * issuing CA that ends is replaced by taking its two files away, with root.key in its place. Gives the paths that are new.
 * Throws CONFIG_INVALID, FILE_UNREADABLE, FILE_UNWRITABLE.
 */
export async function makeCaFolder(dir: string, plan: CaPlan, now: Date): Promise<string[]> {
  makeDirectory(dir, { mode: 0o700 });
  const permitted = { trustDomain: plan.trustDomain, hosts: [...new Set([...plan.hosts, ...plan.permit])] };
  const passphrase = plan.passphraseFile === undefined ? undefined : readPassphrase(plan.passphraseFile);
  const created: string[] = [];
  const keep = (name: string, text: string, mode: number): void => {
    const path = join(dir, name);
    if (makeFile(path, text, mode)) created.push(path);
    else throw new CscError('FILE_UNWRITABLE', `${path} is there already: take another folder`);
  };
  const has = (name: string): boolean => existsSync(join(dir, name));
  if (!has('root.pem')) {
    const root = await makeRoot(permitted, now);
    // The key first: a certificate without one is of no use.
    keep('root.key', toPem(root.key, passphrase), 0o600);
    keep('root.pem', root.pem, 0o644);
  }
  if (!has('issuing.pem')) {
    if (!has('root.key'))
      throw new CscError(
        'CONFIG_INVALID',
        `an issuing CA is made with ${join(dir, 'root.key')}: put it there`,
      );
    const root = {
      pem: readText(join(dir, 'root.pem')),
      key: readKey(join(dir, 'root.key'), passphrase),
    };
    const issuing = await makeIssuing(root, permitted, now);
    keep('issuing.key', toPem(issuing.key, passphrase), 0o600);
    keep('issuing.pem', issuing.pem, 0o644);
  }
  if (!has('ca.yaml')) keep('ca.yaml', toYaml(plan), 0o644);
  return created;
}

function toYaml({ trustDomain, hosts, listen, lifeSec, passphraseFile }: CaPlan): string {
  const passphrase =
    passphraseFile === undefined ? '' : `  passphrase_file: ${JSON.stringify(passphraseFile)}\n`;
  return `# The CA of a fleet: csc ca serve --dir with this folder. docs/ca.md has all of it.
listen: ${JSON.stringify(listen)}
hosts: ${JSON.stringify(hosts)}
trust_domain: ${JSON.stringify(trustDomain)}
# The root's key, root.key, is needed for another issuing CA alone: keep it elsewhere.
root: root.pem
issuing:
  certificate: issuing.pem
  key: issuing.key
${passphrase}state_dir: state
# How long certificates count; whoever runs with one renews it at two thirds of that.
life_sec: ${lifeSec}
# What those who join are given, by a way that is not the gate's: where it is, its gate-keys.json, the owners' root.json.
fleet: {}
#  gate: gate.example.org:7443
#  gate_keys: gate-keys.json
#  policy_root: root.json
`;
}

function toPem(key: KeyObject, passphrase: string | undefined): string {
  const format = { type: 'pkcs8', format: 'pem' } as const;
  return (
    passphrase === undefined
      ? key.export(format)
      : key.export({ ...format, cipher: 'aes-256-cbc', passphrase })
  ).toString();
}

function readPassphrase(path: string): string {
  const { bytes, permissions } = readBoundedFile(path, { maxBytes });
  if ((permissions & 0o077) !== 0)
    throw new CscError(
      'CONFIG_INVALID',
      `${path} may be read by others than its owner: run chmod 600 ${path}`,
    );
  const passphrase = bytes.toString('utf8').replace(/\r?\n$/, '');
  if (passphrase.length >= 8) return passphrase;
  throw new CscError('CONFIG_INVALID', `the passphrase in ${path} has less than 8 characters`);
}

function readText(path: string): string {
  return readBoundedFile(path, { maxBytes }).bytes.toString('utf8');
}

function readKey(path: string, passphrase: string | undefined): KeyObject {
  const { bytes, permissions } = readBoundedFile(path, { maxBytes });
  if ((permissions & 0o077) !== 0)
    throw new CscError(
      'CONFIG_INVALID',
      `${path} may be read by others than its owner: run chmod 600 ${path}`,
    );
  try {
    const key = createPrivateKey({ key: bytes, ...(passphrase === undefined ? {} : { passphrase }) });
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  } catch (cause) {
    const message = `${path} holds no private key that can be read, or another passphrase is due`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
  throw new CscError('CONFIG_INVALID', `${path} is no key of EC P-256`);
}

/** What a CA issues with. */
export interface CaKeys extends Issuer {
  /** PEM. */
  readonly issuingPem: string;
  readonly rootPem: string;
  /** Of the root's certificate, lower-case hex. */
  readonly rootSha256: string;
}

/** Reads what a CA issues with. Throws FILE_UNREADABLE, or CONFIG_INVALID where its parts do not belong together. */
export function readCaKeys({ root, issuing }: Pick<CaConfig, 'root' | 'issuing'>): CaKeys {
  const passphrase =
    issuing.passphraseFile === undefined ? undefined : readPassphrase(issuing.passphraseFile);
  const key = readKey(issuing.key, passphrase);
  const [rootCertificate, certificate] = [readCertificate(root), readCertificate(issuing.certificate)];
  if (!certificate.checkPrivateKey(key))
    throw new CscError('CONFIG_INVALID', `${issuing.key} is not the key of ${issuing.certificate}`);
  if (!certificate.checkIssued(rootCertificate) || !certificate.verify(rootCertificate.publicKey))
    throw new CscError('CONFIG_INVALID', `${issuing.certificate} is not of ${root}`);
  return {
    key,
    certificate: toCertificate(certificate.toString()),
    issuingPem: certificate.toString(),
    rootPem: rootCertificate.toString(),
    rootSha256: rootCertificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

function readCertificate(path: string): X509Certificate {
  const text = readText(path);
  try {
    return new X509Certificate(text);
  } catch (cause) {
    throw new CscError('CONFIG_INVALID', `${path} holds no certificate`, { cause });
  }
}
