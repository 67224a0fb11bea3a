import type { CscError } from '@csc-fleet/common/errors';
import { type Execution, ExecutionState } from '@csc-fleet/common/messages';
import { describeDecision } from '../check/describe.ts';
import { type LocalGate, localPrincipal } from '../local/gate.ts';
import { writeReceipt } from '../receipt-file.ts';
import { describeError } from '../report-error.ts';
import { toDecisionView } from '../submit/describe-outcome.ts';
import type { Outcome } from '../submit/outcome.ts';
import { outcomeJson } from '../submit/presenter.ts';
import { createPaint } from '../terminal/colour.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import type { LocalRun } from './local-run.ts';
import { resignBlocked, toWritten } from './seal-receipt.ts';

/**
 * Nothing runs: writes a `blocked` receipt and says why. Resolves to `exitCode`.
 * @param error why an approval did not count; absent where the decision says it all
 */
export async function block(
  local: LocalGate,
  run: LocalRun,
  error: CscError | undefined,
  exitCode: number,
): Promise<number> {
  const outcome = await settle(local, run, error);
  writeReceipt(run.options.receiptOut, outcome.receiptJson);
  if (run.options.json === true) await writeJson({ type: 'result', ...outcomeJson(outcome) });
  else await tell(outcome, error);
  if (run.options.json !== true) note(`csc: blocked receipt written to ${run.options.receiptOut}`);
  return exitCode;
}

async function settle({ gate }: LocalGate, run: LocalRun, error: CscError | undefined): Promise<Outcome> {
  const { options, seal, request } = run;
  const submitted = await gate.submit(localPrincipal, { ...request, approvalsJson: [] });
  const { executionId, decision, state } = submitted;
  if (state === ExecutionState.AWAITING_APPROVAL) {
    await gate.cancel(localPrincipal, { executionId, gracePeriod: undefined });
  }
  const { receiptJson } = await gate.getReceipt(localPrincipal, { executionId });
  const reason = error?.message ?? decision?.reasons.join('; ') ?? 'blocked';
  const known = { execution_mode: options.mode, error: reason };
  const sealed = Buffer.from(toWritten(resignBlocked(receiptJson, known, seal, new Date()), seal));
  const { execution } = await gate.getExecution(localPrincipal, { executionId });
  const blocked = { ...(execution as Execution), state: ExecutionState.BLOCKED, error: reason };
  return {
    executionId,
    execution: blocked,
    decision,
    receipt: undefined,
    receiptJson: sealed,
    exitCode: undefined,
  };
}

async function tell({ decision }: Outcome, error: CscError | undefined): Promise<void> {
  if (error !== undefined) note(describeError(error));
  else if (decision !== undefined) {
    await writeOut(`${describeDecision(toDecisionView(decision), createPaint(process.stdout))}\n`);
  }
}
