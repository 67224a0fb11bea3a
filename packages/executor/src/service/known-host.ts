import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readOwnSigner } from '@csc-fleet/common/crypto';
import { isCscError } from '@csc-fleet/common/errors';
import { readPem } from '@csc-fleet/common/files';
import { readOwnIdentity } from '@csc-fleet/common/identity';
import type { HostNames, Revocation } from '@csc-fleet/common/owners';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { OwnersWord } from '../admission/owners.ts';
import type { ExecutorConfig } from './config.ts';
import { labelsOf } from './labels.ts';
import { loadKnownWord, repositoryDirectory } from './owners.ts';
import { readOwnersPolicies } from './owners-files.ts';
import { defaultKeyFile } from './signing-key.ts';

const maxPemBytes = 1024 * 1024;

/** What the files of a host say of it while its executor need not run: nothing is started or made. */
export interface KnownHost {
  readonly names: HostNames;
  readonly labels: Readonly<Record<string, string>>;
}

/** Undefined where its certificate cannot be read, so that nobody knows who it is. Throws KEY_INVALID, CONFIG_INVALID. */
export function readKnownHost(config: ExecutorConfig): KnownHost | undefined {
  const { tls, stateDir, signingKey = join(stateDir, defaultKeyFile) } = config;
  try {
    const { name: executorId, uri: identity } = readOwnIdentity(tls.cert, 'executor');
    const certificate = new X509Certificate(readPem(tls.cert, 'cert', maxPemBytes).bytes);
    const receiptKey = existsSync(signingKey) ? { receiptKey: readOwnSigner(signingKey, executorId) } : {};
    return { names: { executorId, identity, ...receiptKey }, labels: labelsOf(config.labels, certificate) };
  } catch (error) {
    if (isCscError(error, 'FILE_UNREADABLE')) return undefined;
    throw error;
  }
}

/** What this host has fetched last of its owners' repository; undefined where there is none, or nothing of it here yet. */
export function readKnownWord({ policyRepository, stateDir }: ExecutorConfig): OwnersWord | undefined {
  return policyRepository && loadKnownWord(policyRepository, repositoryDirectory(stateDir));
}

/** The policies that count on this host, as its files have them; empty where it has none yet, or they cannot be read. */
export function readKnownPolicies(config: ExecutorConfig): readonly PolicyDocument[] {
  try {
    const { policies } = config;
    const known = policies === undefined ? readKnownWord(config)?.policies : readOwnersPolicies(policies);
    return known?.all() ?? [];
  } catch (error) {
    if (isCscError(error)) return [];
    throw error;
  }
}

/** The entry of the owners' revoked.yaml that stops this host, as far as it has fetched that; undefined where none does. */
export function findRevocation(word: OwnersWord, host: KnownHost | undefined): Revocation | undefined {
  return host && word.revocations?.findHost(host.names);
}
