import { isCoveredBy, parsePath } from '../paths/index.ts';
import { allowed, type CommandFinding, type JudgeCommand, shown } from './finding.ts';
import type { ReasonCode } from './reason-codes.ts';

/** Step 2h: cwd lies under an allowed prefix. */
export const judgeCwd: JudgeCommand = ({ cwd }, policy) =>
  judgePaths([{ member: 'cwd', path: cwd }], policy.allowed_cwd_prefixes, 'CWD_NOT_ALLOWED', 'cwd');

/** Step 2i: so does every read path. */
export const judgeReads: JudgeCommand = ({ read_paths }, policy) =>
  judgePaths(place('read_paths', read_paths), policy.allowed_read_prefixes, 'READ_SCOPE_DENIED', 'read path');

/** Step 2k: so does every write path. */
export const judgeWrites: JudgeCommand = ({ write_paths }, policy) =>
  judgePaths(
    place('write_paths', write_paths),
    policy.allowed_write_prefixes,
    'WRITE_SCOPE_DENIED',
    'write path',
  );

interface PlacedPath {
  readonly member: string;
  readonly path: string;
}

function place(list: string, paths: readonly string[]): PlacedPath[] {
  return paths.map((path, index) => ({ member: `${list}[${index}]`, path }));
}

function judgePaths(
  paths: readonly PlacedPath[],
  prefixes: readonly string[],
  reasonCode: ReasonCode,
  what: string,
): CommandFinding[] {
  const outside = paths.filter(({ path }) => !isCoveredBy(path, prefixes));
  if (outside.length === 0) return [];
  const instead = allowed(prefixes);
  return outside.map(({ member, path }) =>
    parsePath(path) === undefined
      ? { reasonCode: 'PATH_NOT_ABSOLUTE', member, message: `path must be absolute: ${shown(path)}` }
      : { reasonCode, member, message: `${what} not allowed: ${shown(path)}${instead}` },
  );
}
