import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { checkWritableDirectory } from '@csc-fleet/common/files';
import { endingSoon, tellEnding } from '@csc-fleet/common/identity';
import { checkPurpose, type TlsSource } from '@csc-fleet/common/rpc';
import { type Check, findUnusableRoots, type JobUser, resolveJobUsers } from '@csc-fleet/sandbox/host';
import type { ExecutorConfig } from './config.ts';
import { findRevocation, readKnownHost, readKnownPolicies, readKnownWord } from './known-host.ts';
import { findOpenKeys, nameOpenKeys, openKeysNote, openKeysRemedy } from './open-keys.ts';
import { readCertifiedSigner } from './renewables.ts';
import { describeRevoked } from './revoked-host.ts';
import { defaultKeyFile } from './signing-key.ts';

export { checkPlace } from './check-place.ts';

const probeMs = 10_000;

/**
 * Tries what of an executor's config reading its files has not: what its certificate is for, the state directory, the
 * receipt key with its certificates, where its secrets are. Starts and leaves nothing. Gives what its owner should look
 * at, for people. Throws what the start would, CONFIG_INVALID for where `secrets` says that they are and for a ceiling
 * in which nothing can run, and SANDBOX_UNAVAILABLE for a store that does not give them.
 */
export async function checkExecutorConfig(
  configPath: string,
  config: ExecutorConfig,
  self: { readonly executorId: string; readonly identity: string; readonly tls: TlsSource },
): Promise<string[]> {
  checkPurpose(self.tls.material.own, 'client');
  const { stateDir, signingKey = join(stateDir, defaultKeyFile), secrets } = config;
  checkWritableDirectory(stateDir, `state_dir ${stateDir}`);
  if (config.caAddress !== undefined) {
    const { checkRenewable } = await import('@csc-fleet/common/ca');
    checkRenewable(config.tls.cert, config.receiptCertificate);
  }
  // One that is not there yet is made by the first start.
  if (config.signingKey !== undefined || existsSync(signingKey)) readCertifiedSigner(config, self);
  asConfig('secrets', () => secrets?.check?.());
  await secrets?.probe?.(AbortSignal.timeout(probeMs));
  return [
    ...(secrets?.warnings?.() ?? []),
    ...checkRoots(config),
    ...endingSoon(self.tls.certificates(), new Date()).map(tellEnding),
    ...[...checkStanding(config), ...checkOpenKeys(configPath, config)].flatMap(({ detail, remedy }) =>
      remedy === undefined ? [] : [`${detail}. What to do: ${remedy}`],
    ),
  ];
}

// As csc doctor judges it.
function checkRoots({ executionMode, runAs, ceiling: { pathRoots } }: ExecutorConfig): string[] {
  const own = ownUser();
  const users =
    executionMode === 'local' ? ({ all: [own], pooled: false } as const) : resolveJobUsers(runAs, own);
  const told = ({ detail, remedy }: Check): string => `ceiling.path_roots: ${detail}. What to do: ${remedy}`;
  const found = findUnusableRoots(users, pathRoots);
  const failing = found.filter(({ ok }) => !ok);
  if (failing.length > 0) throw new CscError('CONFIG_INVALID', failing.map(told).join('; '));
  return found.map(told);
}

/** What csc doctor says of a host's standing with its owners; empty where it has no policy repository. */
export function checkStanding(config: ExecutorConfig): Check[] {
  const name = 'owners';
  if (config.policyRepository === undefined) return [];
  try {
    const word = readKnownWord(config);
    if (word === undefined)
      return [{ name, ok: true, detail: 'this host has fetched nothing of their repository yet' }];
    const revocation = findRevocation(word, readKnownHost(config));
    if (revocation !== undefined) return [{ name, ok: false, ...describeRevoked(revocation) }];
    return [
      {
        name,
        ok: true,
        detail: `version ${word.version} of their repository, which is the last that came, does not revoke this host`,
      },
    ];
  } catch (error) {
    if (!isCscError(error)) throw error;
    if (isAbsent(error.cause)) {
      const remedy =
        'copy the owners’ root.json there (policy_repository.root), by a way that is not the gate’s; the executor does not start without it';
      return [{ name, ok: false, detail: error.message, remedy }];
    }
    const remedy = 'run it as root, or as whom the executor runs as';
    return [{ name, ok: true, detail: `not known: ${error.message}`, remedy }];
  }
}

function isAbsent(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

/** What csc doctor says of others' keys that lie around the config; empty where no job could read any. */
export function checkOpenKeys(configPath: string, config: ExecutorConfig): Check[] {
  const named = nameOpenKeys(findOpenKeys(configPath, config, readKnownPolicies(config)));
  if (named === undefined) return [];
  return [{ name: 'keys', ok: true, detail: `${openKeysNote}: ${named}`, remedy: openKeysRemedy }];
}

/** Throws CONFIG_INVALID for a `run_as` that this host cannot run jobs as. */
export function checkJobUsers({
  executionMode,
  runAs,
}: Pick<ExecutorConfig, 'executionMode' | 'runAs'>): void {
  if (executionMode === 'local') return;
  asConfig('run_as', () => resolveJobUsers(runAs, ownUser()));
}

function ownUser(): JobUser {
  return { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
}

// What a run is refused for is, of a config that is only looked at, a member to mend.
function asConfig(member: string, check: () => unknown): void {
  try {
    check();
  } catch (cause) {
    if (!isCscError(cause, 'SANDBOX_UNAVAILABLE')) throw cause;
    throw new CscError('CONFIG_INVALID', `${member}: ${cause.message}`, { cause });
  }
}
