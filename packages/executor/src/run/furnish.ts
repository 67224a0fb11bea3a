import { realpathSync, statSync } from 'node:fs';
import { judgeCommand } from '@csc-fleet/common/command-rules';
import { argvs, type Command } from '@csc-fleet/common/contract';
import { CscError, formatFaults } from '@csc-fleet/common/errors';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { decodePath, encodePath, showPath } from '@csc-fleet/sandbox/host';
import type { Allowance } from '../admission/grant.ts';
import type { Place, Workplace } from './workplace.ts';

/** What places are made with. */
export interface Workshop {
  readonly workplace: Workplace;
}

/** A place for a command, or why it cannot start at all, which is a failed run with exit code 126 and not a refusal. */
export type Furnished =
  | { readonly kind: 'place'; readonly place: Place }
  | { readonly kind: 'not_startable'; readonly why: string };

/**
 * Finds the place of a command on this host, and holds it once more against what only the host knows: where its cwd leads,
 * and what its programs are. Launches nothing. Throws HOST_CEILING_EXCEEDED, or a CscError that names the path that stands
 * in the way.
 */
export function furnishCommand(command: Command, allowance: Allowance, { workplace }: Workshop): Furnished {
  const problem = findCwdProblem(command.cwd, allowance.policy.allowed_cwd_prefixes);
  if (problem !== undefined) return { kind: 'not_startable', why: problem };
  const place = workplace.furnish(command, allowance);
  try {
    checkPrograms(command, place, allowance);
    return { kind: 'place', place };
  } catch (error) {
    place.close();
    throw error;
  }
}

// A symlink in a workspace must not make an interpreter of a tool.
function checkPrograms(
  command: Command,
  { findProgram }: Place,
  { policy, inlineCode, terminal }: Allowance,
): void {
  if (findProgram === undefined) return;
  const resolve = (program: string): string | undefined => {
    const found = findProgram(program);
    return found.code === 0 ? found.path : undefined;
  };
  const rules = { allowCommands: policy.allow_commands, inlineCode, resolve };
  const faults = argvs(command).flatMap((argv, index) =>
    judgeCommand(argv, { ...rules, piped: index > 0 || terminal !== undefined }),
  );
  if (faults.length === 0) return;
  throw new CscError('HOST_CEILING_EXCEEDED', `this host does not run it:\n${formatFaults(faults)}`, {
    faults,
  });
}

// Undefined where it can start there. That it cannot is a failed run, as in the reference.
function findCwdProblem(cwd: string, allowedPrefixes: readonly string[]): string | undefined {
  try {
    const path = decodePath(realpathSync.native(cwd, 'buffer'));
    if (!statSync(encodePath(path)).isDirectory()) return `cwd ${cwd} is not a directory`;
    return isCoveredBy(path, allowedPrefixes)
      ? undefined
      : `cwd ${cwd} leads to ${showPath(path)}, outside allowed_cwd_prefixes`;
  } catch {
    return `cwd ${cwd} does not exist on this host`;
  }
}
