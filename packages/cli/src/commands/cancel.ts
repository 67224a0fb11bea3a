import type { GateClient } from '@csc-fleet/client';
import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { parseDuration } from '../action/options.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { describeAbsence } from '../show/execution.ts';
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
  addTokenOptions(addGateOptions(command))
    .option('--grace <time>', 'between SIGTERM and SIGKILL, at most 60s (default: 5s)', parseDuration)
    .option('--json', 'print the execution as JSON')
    .addHelpText('after', help);
  act<[string, GateOptions & { grace?: number; json?: true }]>(command, cancelExecution);
}

// Undefined: it has ended, or its executor is there to end it.
async function whyNotYet(client: GateClient, asked: Execution): Promise<string | undefined> {
  const { executionId, executorId, state, endedAt } = asked;
  const isLost = state === ExecutionState.LOST;
  if (endedAt !== undefined)
    return isLost ? 'it is over: the owners have resolved it, and nothing is to be cancelled' : undefined;
  if (!isLost && state !== ExecutionState.RUNNING && state !== ExecutionState.OFFERED) return undefined;
  const { execution, absence } = await client.getExecution(executionId);
  if (absence !== undefined) {
    const howLong = absence.lostAt === undefined ? `${absence.executorId} is away` : describeAbsence(absence);
    return `its executor ${howLong}; it is ended when that is back. Where it never comes back, an owner ends it: csc admin resolve ${executionId} --reason TEXT`;
  }
  if (execution.state !== ExecutionState.LOST) return undefined;
  return executorId === '' ? execution.error : `nothing is there that could be ended: ${execution.error}`;
}

/** Asks for an execution's end and prints how it stands. */
async function cancelExecution(
  named: string,
  options: GateOptions & { readonly grace?: number; readonly json?: true },
): Promise<number> {
  using client = connectGate(options, await identify(options));
  const executionId = await resolveExecution(client, named);
  const execution = await client.cancel(executionId, { gracePeriodMs: options.grace });
  if (options.json === true) await writeJson(executionJson(execution));
  else await writeOut(`${plainLine(execution.executionId)} ${stateName(execution.state)}\n`);
  const why = await whyNotYet(client, execution);
  if (why !== undefined) note(plainLine(`csc: ${why}`));
  return exitCodes.ok;
}
