import type { Command, CommandContract } from '@csc-fleet/common/contract';
import type { Policy } from '@csc-fleet/common/policy';

/**
 * Protocol §3, written a second time and differently: one predicate a reason code, without order, shortcuts or code
 * shared with the implementation. True where that one rule is broken somewhere in the contract.
 */
export const breaks: Readonly<Record<string, (contract: CommandContract, policy: Policy) => boolean>> = {
  RISK_CLASS_NOT_ALLOWED: (contract, policy) => !has(policy.allowed_risk_classes, contract.risk_class),
  COMMAND_NOT_ALLOWED: some((command, policy) =>
    vectors(command).some(([program]) => !has(policy.allow_commands, program)),
  ),
  ARGV_PREFIX_DENIED: some((command, policy) =>
    vectors(command).some((argv) =>
      policy.deny_argv_prefixes.some((prefix) => same(argv.slice(0, prefix.length), prefix)),
    ),
  ),
  EFFECT_TYPE_NOT_ALLOWED: some(
    (command, policy) => !has(policy.allowed_effect_types, command.proposed_effect_type),
  ),
  TIMEOUT_EXCEEDS_POLICY: some((command, policy) => command.timeout_sec - policy.max_timeout_sec > 0),
  NETWORK_EXCEEDS_POLICY: some((command, { network: most }) => {
    if (command.network === 'full') return most !== 'full';
    return command.network === 'allowlisted' && most === 'deny';
  }),
  SECRET_REF_NOT_ALLOWED: some(
    ({ secret_refs: refs }, { allow_secret_refs: atAll, allowed_secret_names: names = refs }) =>
      refs.length > 0 && !(atAll && new Set([...names, ...refs]).size === new Set(names).size),
  ),
  CWD_NOT_ALLOWED: some((command, policy) => isOutside(command.cwd, policy.allowed_cwd_prefixes)),
  READ_SCOPE_DENIED: some((command, policy) =>
    command.read_paths.some((path) => isOutside(path, policy.allowed_read_prefixes)),
  ),
  WRITE_PATHS_NOT_EMPTY: some(
    (command, policy) => policy.require_write_paths_empty && command.write_paths.length > 0,
  ),
  WRITE_SCOPE_DENIED: some((command, policy) =>
    command.write_paths.some((path) => isOutside(path, policy.allowed_write_prefixes)),
  ),
  PATH_NOT_ABSOLUTE: some((command) =>
    [command.cwd, ...command.read_paths, ...command.write_paths].some((path) => segments(path) === undefined),
  ),
};

/** True where a rule asks for approval. */
export function asksForApproval(contract: CommandContract, policy: Policy): boolean {
  const effects = contract.commands.map((command) => {
    const [first = []] = vectors(command);
    if (first[0] !== 'curl') return command.proposed_effect_type;
    const entries = policy.allowed_egress_hosts.map((entry) =>
      typeof entry === 'string' ? entry : entry.host,
    );
    const hosts = entries.filter((host) => /stripe/i.test(host)).map(nameIn(policy));
    return hosts.some((host) => first.join(' ').split(host).length > 1)
      ? 'financial_action'
      : 'fetch_external';
  });
  return (
    contract.approval_mode !== 'policy_only' ||
    effects.some((effect) => has(policy.manual_approval_for_classified_effect_types, effect))
  );
}

// The generated argvs have no capital letters in their URLs.
function nameIn({ policy_schema_version: version }: Policy): (host: string) => string {
  if (version === 'csc.policy.v0.1') return (host) => host;
  return (host) => host.split(':')[0]?.replaceAll('*', '').toLowerCase() ?? '';
}

function some(rule: (command: Command, policy: Policy) => boolean) {
  return (contract: CommandContract, policy: Policy) =>
    contract.commands.some((command) => rule(command, policy));
}

function vectors(command: Command): string[][] {
  const list = command.pipeline === undefined ? [command.exec] : command.pipeline.segments;
  return list.map((it) => it?.argv ?? []);
}

/** Its root (`/`, `c:` or `//host/share`), then its segments; undefined where it is not absolute. */
function segments(path: string): string[] | undefined {
  if (/^\/(?!\/)/.test(path)) return ['/', ...path.split('/').filter((it) => it !== '' && it !== '.')];
  const windows = path.toLowerCase().replaceAll('\\', '/');
  const root = /^(?:[a-z]:(?=\/)|\/\/[^/]+\/[^/]+(?=\/|$))/.exec(windows)?.[0];
  // A path that begins with one slash of each kind is neither UNC nor POSIX.
  if (root === undefined || /^(?:\/\\|\\\/)/.test(path)) return undefined;
  const rest = windows.slice(root.length).split('/');
  return [root, ...rest.filter((it) => it !== '' && it !== '.')];
}

function isOutside(path: string, prefixes: readonly string[]): boolean {
  const inner = segments(path);
  if (inner === undefined) return false;
  return !prefixes.some((prefix) => {
    const outer = segments(prefix);
    return outer !== undefined && same(inner.slice(0, outer.length), outer);
  });
}

function has(list: readonly string[], item: string | undefined): boolean {
  return list.filter((it) => it === item).length > 0;
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
