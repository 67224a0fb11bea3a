import { argvs, networkModes } from '../contract/index.ts';
import type { Policy } from '../policy/index.ts';
import { allowed, type CommandFinding, type JudgeCommand, noFindings, shown } from './finding.ts';
import { judgeProposal } from './judge-effects.ts';
import { judgeCwd, judgeReads, judgeWrites } from './judge-paths.ts';
import type { ReasonCode } from './reason-codes.ts';

/** Step 2a: each argv[0] is allowed, and no denied prefix starts the argv. */
export const judgeArgvs: JudgeCommand = (command, policy) => {
  const all = argvs(command);
  if (all.every((argv) => isLetPass(argv, policy))) return noFindings;
  return all.flatMap((argv, index) => {
    const member = command.exec === undefined ? `pipeline.segments[${index}].argv` : 'exec.argv';
    const program = argv[0] ?? '';
    const denied = policy.deny_argv_prefixes.filter((prefix) => startsWith(argv, prefix));
    return [
      ...unless(
        policy.allow_commands.includes(program),
        'COMMAND_NOT_ALLOWED',
        `${member}[0]`,
        () => `command not allowed: ${shown(program)}${allowed(policy.allow_commands)}`,
      ),
      ...denied.flatMap((prefix) =>
        unless(false, 'ARGV_PREFIX_DENIED', member, () => `argv prefix denied: ${shown(prefix.join(' '))}`),
      ),
    ];
  });
};

function isLetPass(
  argv: readonly string[],
  { allow_commands: programs, deny_argv_prefixes: denied }: Policy,
): boolean {
  return programs.includes(argv[0] ?? '') && !denied.some((prefix) => startsWith(argv, prefix));
}

const judgeTimeout: JudgeCommand = ({ timeout_sec: timeout }, { max_timeout_sec: most }) =>
  unless(
    timeout <= most,
    'TIMEOUT_EXCEEDS_POLICY',
    'timeout_sec',
    () => `timeout too large: ${timeout}; the policy allows ${most} seconds`,
  );

const judgeNetwork: JudgeCommand = ({ network }, { network: most }) =>
  unless(
    networkModes.indexOf(network) <= networkModes.indexOf(most),
    'NETWORK_EXCEEDS_POLICY',
    'network',
    () => `network mode exceeds policy maximum: ${network}; the policy allows ${most}`,
  );

/** Step 2g; under a v0.2 policy that names secrets, every ref must also be one of them. */
const judgeSecrets: JudgeCommand = ({ secret_refs: secrets }, policy) => {
  if (!policy.allow_secret_refs)
    return unless(
      secrets.length === 0,
      'SECRET_REF_NOT_ALLOWED',
      'secret_refs',
      () => 'secret refs not allowed',
    );
  const { allowed_secret_names: names } = policy;
  if (names === undefined) return noFindings;
  return secrets.flatMap((secret, index) =>
    unless(
      names.includes(secret),
      'SECRET_REF_NOT_ALLOWED',
      `secret_refs[${index}]`,
      () => `secret ref not allowed: ${shown(secret)}${allowed(names)}`,
    ),
  );
};

const judgeNoWrites: JudgeCommand = ({ write_paths: paths }, policy) =>
  unless(
    paths.length === 0 || !policy.require_write_paths_empty,
    'WRITE_PATHS_NOT_EMPTY',
    'write_paths',
    () => 'writes not allowed in this profile',
  );

const limitJudges: readonly JudgeCommand[] = [
  judgeProposal,
  judgeTimeout,
  judgeNetwork,
  judgeSecrets,
  judgeCwd,
  judgeReads,
  judgeNoWrites,
  judgeWrites,
];

/** Steps 2c to 2k, in order. */
export const judgeLimits: JudgeCommand = (command, policy) => {
  const found = limitJudges.map((check) => check(command, policy)).filter(({ length }) => length > 0);
  return found.length === 0 ? noFindings : found.flat();
};

function startsWith(argv: readonly string[], prefix: readonly string[]): boolean {
  return prefix.every((word, index) => argv[index] === word);
}

function unless(
  ok: boolean,
  reasonCode: ReasonCode,
  member: string,
  message: () => string,
): readonly CommandFinding[] {
  return ok ? noFindings : [{ reasonCode, member, message: message() }];
}
