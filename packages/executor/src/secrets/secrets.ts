import type { CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import { toSecretPath } from '@csc-fleet/sandbox/plan';
import { checkMaskable, createMask, type OutputMask } from './mask.ts';
import { checkText, type ReadOptions, type SecretProvider } from './provider.ts';

/** The secrets of one execution, for as long as it lasts. */
export interface ReadSecrets {
  /** By name. */
  readonly values: ReadonlyMap<string, Buffer>;
  /** Overwrites the values. */
  wipe(): void;
}

/**
 * Reads each secret once, however often it is named; one after the other, so that at the first that fails nothing else
 * is under way. Throws what the provider throws, or SANDBOX_UNAVAILABLE for one that cannot be masked; nothing is kept
 * then.
 */
export async function readSecrets(
  names: readonly string[],
  provider: SecretProvider,
  options?: ReadOptions,
): Promise<ReadSecrets> {
  const values = new Map<string, Buffer>();
  const wipe = (): void => {
    for (const value of values.values()) value.fill(0);
  };
  try {
    for (const name of new Set(names)) {
      const value = await provider.read(name, options);
      values.set(name, value);
      checkText(name, value);
      checkMaskable(name, value);
    }
  } catch (error) {
    wipe();
    throw error;
  }
  return { values, wipe };
}

/**
 * The variables that say where secrets are: NAME_FILE, in capitals, for each secret NAME whose variable `envAllow`
 * names. A value is never in the environment, which all that a command starts inherits, and many a tool prints. Of two
 * names that make the same variable (a.b and a_b) the later one has it.
 */
export function secretVariables(
  names: readonly string[],
  envAllow: readonly string[],
): Readonly<Record<string, string>> {
  const variables = names.map((name) => [toVariable(name), toSecretPath(name)] as const);
  return Object.fromEntries(variables.filter(([variable]) => envAllow.includes(variable)));
}

function toVariable(name: string): string {
  return `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_FILE`;
}

/** The secrets of one execution, for as long as it lasts. */
export interface RunSecrets extends ReadSecrets {
  /** One for each stream of output; undefined where there is nothing to take out. */
  filter(): OutputMask | undefined;
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
