import type { CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import type { OutputFilter } from '../output/index.ts';
import { createMask, type ReadSecrets, readSecrets, type SecretProvider } from './index.ts';

/** The secrets of one execution, for as long as it lasts. */
export interface RunSecrets extends ReadSecrets {
  /** One for each stream of output; undefined where there is nothing to take out. */
  filter(): OutputFilter | undefined;
}

export const noSecrets: RunSecrets = {
  values: new Map(),
  filter: () => undefined,
  wipe: () => undefined,
};

// A ticket's time is short, and the store has had its second chance by then.
const patienceMs = 15_000;

/** Reads every secret that a contract names, once. Throws a CscError that holds no value; nothing is kept then. */
export async function readRunSecrets(
  { commands }: CommandContract,
  provider: SecretProvider | undefined,
): Promise<RunSecrets> {
  const names = commands.flatMap(({ secret_refs: refs }) => refs);
  if (names.length === 0) return noSecrets;
  if (provider === undefined) {
    const message = "this host has no secrets: the executor's config has no `secrets`";
    throw new CscError('SANDBOX_UNAVAILABLE', message);
  }
  const secrets = await readSecrets(names, provider, { signal: AbortSignal.timeout(patienceMs) });
  const mask = createMask(secrets.values);
  return { ...secrets, filter: () => mask.stream() };
}
