import { coveredBy, isCoveredBy, parsePath } from '../paths/index.ts';
import { allowed, type CommandFinding, type JudgeCommand, noFindings, shown } from './finding.ts';
import type { ReasonCode } from './reason-codes.ts';

/** Step 2h: cwd lies under an allowed prefix. */
export const judgeCwd: JudgeCommand = ({ cwd }, policy) =>
  judgePaths([cwd], policy.allowed_cwd_prefixes, 'CWD_NOT_ALLOWED', 'cwd', () => 'cwd');

/** Step 2i: so does every read path. */
export const judgeReads: JudgeCommand = ({ read_paths: paths }, policy) =>
  judgePaths(
    paths,
    policy.allowed_read_prefixes,
    'READ_SCOPE_DENIED',
    'read path',
    (index) => `read_paths[${index}]`,
  );

/** Step 2k: so does every write path. */
export const judgeWrites: JudgeCommand = ({ write_paths: paths }, policy) =>
  judgePaths(
    paths,
    policy.allowed_write_prefixes,
    'WRITE_SCOPE_DENIED',
    'write path',
    (index) => `write_paths[${index}]`,
  );

// Fewer are looked at before all prefixes are put in order.
const fewPaths = 16;

function judgePaths(
  paths: readonly string[],
  prefixes: readonly string[],
  reasonCode: ReasonCode,
  what: string,
  memberAt: (index: number) => string,
): readonly CommandFinding[] {
  const isCovered =
    paths.length > fewPaths ? coveredBy(prefixes) : (path: string) => isCoveredBy(path, prefixes);
  if (paths.every(isCovered)) return noFindings;
  const instead = allowed(prefixes);
  return paths.flatMap((path, index): readonly CommandFinding[] => {
    if (isCovered(path)) return noFindings;
    const member = memberAt(index);
    return parsePath(path) === undefined
      ? [{ reasonCode: 'PATH_NOT_ABSOLUTE', member, message: `path must be absolute: ${shown(path)}` }]
      : [{ reasonCode, member, message: `${what} not allowed: ${shown(path)}${instead}` }];
  });
}
