import { CscError, isCscError } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { addReviewOptions, reviewHelp } from '../approve/options.ts';
import { type ReviewOptions, reviewExecution, tellReview } from '../approve/review.ts';
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
With --reason, a person who is asked says no, signed (csc.approval.v0.2): it ends there, whoever has agreed or will.
${reviewHelp}
Without, whoever submitted it ends the waiting at the gate: the execution is CANCELLED, with a receipt, and nothing of it
runs. Approvals that are out for the contract stay as they are: each has its own expiry.
${gateOptionsHelp}
Examples:
  $ csc reject EXECUTION --reason 'not on a Friday' --gate gate.example:7443 --pki pki --as bob
  $ csc reject EXECUTION --gate gate.example:7443 --pki pki --as alice
`;

interface RejectOptions extends ReviewOptions {
  readonly yes?: true;
}

export function defineReject(command: Command): void {
  command
    .description('End an execution that waits for an approval.')
    .argument('<execution>', 'its id, or its first characters, four or more')
    .option('--reason <text>', 'why not: says no as a person who is asked, signed')
    .addOption(command.createOption('--yes', 'do not ask, where you submitted it').conflicts('reason'));
  addReviewOptions(addGateOptions(command)).addHelpText('after', help);
  act<[string, RejectOptions]>(command, (named, options) =>
    options.reason === undefined ? rejectExecution(named, options) : sayNo(named, options),
  );
}

/** Resolves to 0 where the rejection was handed in, and to 1 where it was thought better of. */
async function sayNo(named: string, options: RejectOptions): Promise<number> {
  using client = connectGate(options);
  const reviewed = await reviewExecution(client, named, 'reject', options);
  if (reviewed === undefined) return exitCodes.no;
  tellReview(reviewed, 'reject');
  return exitCodes.ok;
}

/** Resolves to 0 where it has ended, and to 1 where nobody agreed. Throws NOT_PERMITTED and EXECUTION_UNKNOWN. */
async function rejectExecution(
  named: string,
  options: GateOptions & { readonly yes?: true },
): Promise<number> {
  using client = connectGate(options);
  const executionId = await ofOwn(resolveExecution(client, named));
  const { execution, decision } = await ofOwn(client.getExecution(executionId));
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

// Whoever is asked about it has it under approvals alone: here it is as if it were not there.
async function ofOwn<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (!isCscError(cause, 'EXECUTION_UNKNOWN')) throw cause;
    const message = `${cause.message}; who is asked about what another has submitted says no with --reason TEXT`;
    throw new CscError('EXECUTION_UNKNOWN', message, { cause });
  }
}
