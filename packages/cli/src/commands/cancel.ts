import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { parseDuration } from '../action/options.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { executionJson, stateName } from '../show/messages-json.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
The command is sent SIGTERM, and all of it SIGKILL after the grace period. This returns at once; csc get ID --follow
shows the end. Asking again, or after the end, does no harm. What is LOST is ended when its executor is back; where it never comes
back, an owner ends it (csc admin resolve).

Example:
  $ csc cancel EXECUTION --grace 20s
`;

export function defineCancel(command: Command): void {
  command
    .description('Ask an execution to end.')
    .argument('<execution>', 'its id, or its first characters, four or more');
  addGateOptions(command)
    .option('--grace <time>', 'between SIGTERM and SIGKILL, at most 60s (default: 5s)', parseDuration)
    .option('--json', 'print the execution as JSON')
    .addHelpText('after', help);
  act<[string, GateOptions & { grace?: number; json?: true }]>(command, cancelExecution);
}

function describeAway({ executionId, executorId }: Execution): string {
  const host = executorId === '' ? 'its executor' : `its executor ${executorId}`;
  return `csc: ${host} is away; it is ended when that is back. Where it never comes back, an owner ends it: csc admin resolve ${executionId} --reason TEXT`;
}

/** Asks for an execution's end and prints how it stands. */
async function cancelExecution(
  named: string,
  options: GateOptions & { readonly grace?: number; readonly json?: true },
): Promise<number> {
  using client = connectGate(options);
  const executionId = await resolveExecution(client, named);
  const execution = await client.cancel(executionId, { gracePeriodMs: options.grace });
  if (options.json === true) await writeJson(executionJson(execution));
  else await writeOut(`${plainLine(execution.executionId)} ${stateName(execution.state)}\n`);
  if (execution.state === ExecutionState.LOST && execution.endedAt === undefined)
    note(plainLine(describeAway(execution)));
  return exitCodes.ok;
}
