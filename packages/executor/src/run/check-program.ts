import { argvs, type Command } from '@csc-fleet/common/contract';
import { CscError, formatFaults } from '@csc-fleet/common/errors';
import type { HostCeiling } from '../admission/ceiling-index.ts';
import { checkCommand } from '../command-rules/index.ts';
import type { Granted, Place } from './workplace.ts';

/**
 * Holds the programs of a command against the rules again, now that it is known what their names stand for in the
 * command's own view: a symlink in a workspace must not make an interpreter of a tool. Throws HOST_CEILING_EXCEEDED.
 */
export function checkProgram(
  command: Command,
  { resolve }: Place,
  { policy }: Granted,
  { inlineCode }: HostCeiling,
): void {
  if (resolve === undefined) return;
  const toPath = (program: string): string | undefined => {
    const found = resolve(program);
    return found.code === 0 ? found.path : undefined;
  };
  const rules = { allowCommands: policy.allow_commands, inlineCode, resolve: toPath };
  const faults = argvs(command).flatMap((argv, index) => checkCommand(argv, { ...rules, piped: index > 0 }));
  if (faults.length === 0) return;
  throw new CscError('HOST_CEILING_EXCEEDED', `this host does not run it:\n${formatFaults(faults)}`, {
    faults,
  });
}
