import { join } from 'node:path';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { Executor } from '@csc-fleet/executor/executor';
import { exitCodes } from '../exit-codes.ts';
import { attachExecutor } from '../local/executor.ts';
import { followLocal } from '../local/follow.ts';
import { type LocalGate, localPrincipal } from '../local/gate.ts';
import { defaultStateDir } from '../local/state-dir.ts';
import { writeReceipt } from '../receipt-file.ts';
import { handleInterrupts } from '../submit/interrupts.ts';
import type { Outcome } from '../submit/outcome.ts';
import { createPresenter } from '../submit/presenter.ts';
import { note } from '../terminal/streams.ts';
import type { LocalRun } from './local-run.ts';
import { toWritten } from './seal-receipt.ts';

/** Runs an allowed contract on this host, shows it, and writes its receipt. Resolves to 0 or 1. */
export async function execute(local: LocalGate, run: LocalRun): Promise<number> {
  const { policy, seal, options, facts } = run;
  const stateDir = options.stateDir ?? defaultStateDir(process.env);
  const executor = await attachExecutor(local, {
    policy,
    signer: seal.signer,
    mode: options.mode,
    // As in the reference: without a sandbox the policy is all that there is.
    inlineCode: options.mode === 'local' || options.allowInlineCode === true,
    facts,
    stateDir,
  });
  try {
    const outcome = await Promise.race([show(local, executor, run, stateDir), local.failed]);
    await executor.delivered();
    return outcome.execution.state === ExecutionState.SUCCEEDED ? exitCodes.ok : exitCodes.no;
  } finally {
    executor.cancelAll(0);
    await executor.close();
  }
}

async function show(
  { gate }: LocalGate,
  executor: Executor,
  run: LocalRun,
  stateDir: string,
): Promise<Outcome> {
  const { options, request, seal } = run;
  const { json = false, quiet = false } = options;
  const presenter = await createPresenter({ json, quiet, brief: true });
  using interrupts = handleInterrupts({
    cancel: (executionId) => gate.cancel(localPrincipal, { executionId, gracePeriod: undefined }),
    hint: 'once more kills it',
    again: () => executor.cancelAll(0),
  });
  try {
    const submitted = await gate.submit(localPrincipal, request);
    interrupts.identify(submitted.executionId);
    const whole = await followLocal(gate, submitted, presenter.handlers, options.receiptVersion);
    const outcome = { ...whole, receiptJson: toWritten(whole.receiptJson, seal) };
    saveReceipt(outcome, options.receiptOut, stateDir);
    await presenter.finish(outcome);
    if (!json && !quiet) note(`csc: receipt written to ${options.receiptOut}`);
    return outcome;
  } finally {
    presenter.stop();
  }
}

// What has run must not go without its receipt because a path was mistyped.
function saveReceipt({ executionId, receiptJson }: Outcome, path: string, stateDir: string): void {
  try {
    writeReceipt(path, receiptJson);
  } catch (error) {
    const kept = join(stateDir, `receipt-${executionId}.json`);
    writeReceipt(kept, receiptJson);
    note(`csc: the receipt is ${kept}`);
    throw error;
  }
}
