import { CscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { describeFindings } from '../show/decision.ts';
import { describeExecution } from '../show/execution.ts';
import { stateName } from '../show/messages-json.ts';
import { toDecisionView } from '../show/outcome.ts';
import { ask, canAsk } from '../terminal/ask.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const help = `
Approvals of version v0.1 cannot say no. This ends the waiting at the gate: the execution is CANCELLED, with a receipt,
and nothing of it runs. Approvals that are out for the contract stay as they are: each has its own expiry.
${gateOptionsHelp}
Example:
  $ csc reject EXECUTION --gate gate.example:7443 --pki pki --as alice
`;

export function defineReject(command: Command): void {
  command
    .description('End an execution that waits for an approval.')
    .argument('<execution>', 'its id, or its first characters, four or more')
    .option('--yes', 'do not ask');
  addGateOptions(command).addHelpText('after', help);
  act<[string, GateOptions & { yes?: true }]>(command, rejectExecution);
}

/** Resolves to 0 where it has ended, and to 1 where nobody agreed. Throws NOT_PERMITTED and EXECUTION_UNKNOWN. */
async function rejectExecution(
  named: string,
  options: GateOptions & { readonly yes?: true },
): Promise<number> {
  using client = connectGate(options);
  const executionId = await resolveExecution(client, named);
  const { execution, decision } = await client.getExecution(executionId);
  if (execution.state !== ExecutionState.AWAITING_APPROVAL) {
    const message = `execution ${execution.executionId} is ${stateName(execution.state)} and waits for no approval: csc cancel ends what runs`;
    throw new CscError('APPROVAL_INVALID', message);
  }
  const paint = createPaint(process.stdout);
  const found = decision === undefined ? '' : `\n${describeFindings(toDecisionView(decision), paint)}\n`;
  await writeOut(`${describeExecution(execution, decision, undefined)}${found}`);
  if (options.yes !== true && (!canAsk() || (await ask('Reject it? Type yes: ')) !== 'yes')) {
    note('csc: it waits on; without a terminal, say --yes');
    return exitCodes.no;
  }
  const ended = await client.cancel(executionId);
  note(plainLine(`csc: rejected; execution ${ended.executionId} is ${stateName(ended.state)}`));
  return exitCodes.ok;
}
