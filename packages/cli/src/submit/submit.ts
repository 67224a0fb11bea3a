import type { GateClient, RunHandlers, SubmitOptions } from '@csc-fleet/client';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { ExecutionState, Verdict } from '@csc-fleet/common/messages';
import { describeDecision } from '../check/describe.ts';
import { connectGate } from '../connect/connect-gate.ts';
import type { GateOptions } from '../connect/gate-options.ts';
import { decisionJson, stateName } from '../connect/messages-json.ts';
import { exitCodes } from '../exit-codes.ts';
import { readInput } from '../read-input.ts';
import { writeReceipt } from '../receipt-file.ts';
import { createPaint } from '../terminal/colour.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { toDecisionView } from './describe-outcome.ts';
import { handleInterrupts, type Interrupts, leave } from './interrupts.ts';
import { exitCodeOfOutcome, type Outcome } from './outcome.ts';
import { createPresenter, type Presenter } from './presenter.ts';

export interface SubmitCommandOptions extends GateOptions {
  readonly approval: readonly string[];
  readonly label: Readonly<Record<string, string>>;
  readonly profile?: string;
  readonly receiptOut?: string;
  readonly receiptVersion?: 'csc.receipt.v0.1' | 'csc.receipt.v0.2';
  readonly idempotencyKey?: string;
  /** Milliseconds. */
  readonly timeoutQueue?: number;
  readonly detach?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** Submits a contract file and, unless detached, shows it to its end. Resolves to the exit code of `csc submit`. */
export async function submitContract(file: string, options: SubmitCommandOptions): Promise<number> {
  const contract = await readInput(file, artifactBytes.contract);
  const submitOptions = await toSubmitOptions(options);
  using client = connectGate(options);
  // Awaited, so that the client is closed only afterwards.
  if (options.detach === true)
    return await submitAndLeave(client, contract, submitOptions, options.json ?? false);
  const presenter = await createPresenter({ json: options.json ?? false, quiet: options.quiet ?? false });
  presenter.now('asking the gate');
  using interrupts = handleInterrupts({
    cancel: (executionId) => client.cancel(executionId),
    hint: 'once more leaves it to itself',
    again: leave,
  });
  const run = (handlers: RunHandlers) => client.run(contract, { ...submitOptions, handlers });
  return await present(presenter, { interrupts, receiptOut: options.receiptOut, run });
}

async function toSubmitOptions(options: SubmitCommandOptions): Promise<SubmitOptions> {
  return {
    approvals: await Promise.all(options.approval.map((path) => readInput(path, artifactBytes.approval))),
    selector: options.label,
    policyProfile: options.profile,
    receiptVersion: options.receiptVersion,
    idempotencyKey: options.idempotencyKey,
    queueTimeoutMs: options.timeoutQueue,
  };
}

interface Presentation {
  /** What Ctrl-C does meanwhile. */
  readonly interrupts: Interrupts;
  readonly receiptOut: string | undefined;
  readonly run: (handlers: RunHandlers) => Promise<Outcome>;
}

/** Shows an execution to its end. Resolves to its exit code. */
export async function present(
  presenter: Presenter,
  { interrupts, receiptOut, run }: Presentation,
): Promise<number> {
  const { onEvent } = presenter.handlers;
  try {
    const outcome = await run({
      ...presenter.handlers,
      onEvent: (event) => {
        interrupts.identify(event.executionId);
        return onEvent?.(event);
      },
    });
    await presenter.finish(outcome);
    if (receiptOut !== undefined && outcome.receiptJson.length > 0)
      writeReceipt(receiptOut, outcome.receiptJson);
    return exitCodeOfOutcome(outcome);
  } finally {
    presenter.stop();
  }
}

async function submitAndLeave(
  client: GateClient,
  contract: Buffer,
  options: SubmitOptions,
  json: boolean,
): Promise<number> {
  const { executionId, decision, state, existing } = await client.submit(contract, options);
  if (json) {
    const decided = decision && decisionJson(decision);
    await writeJson({ execution_id: executionId, state: stateName(state), existing, decision: decided });
  } else {
    await writeOut(`${executionId}\n`);
    if (decision !== undefined && state !== ExecutionState.QUEUED && decision.verdict !== Verdict.ALLOW) {
      note(describeDecision(toDecisionView(decision), createPaint(process.stderr)));
    }
  }
  if (state === ExecutionState.AWAITING_APPROVAL) return exitCodes.needsApproval;
  return decision?.verdict === Verdict.DENY ? exitCodes.no : exitCodes.ok;
}
