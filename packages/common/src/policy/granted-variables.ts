import type { Policy } from './schema.ts';

/**
 * The names of a command's env_allow that it may get under a policy, in the command's order. A name outside allowed_env
 * is left out rather than denied: the registry of reason codes has none for it, and what is absent can do no harm.
 */
export function grantedVariables({ allowed_env: allowed }: Policy, names: readonly string[]): string[] {
  return names.filter((name) => allowed === undefined || allowed.includes(name));
}
