import { concludeFrom, createReceiver, type Receiver } from '@csc-fleet/client/offline';
import { createKeyRing } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { verifyReceiptFor } from '@csc-fleet/common/evidence';
import type { SubmitResponse } from '@csc-fleet/common/messages';
import type { HostFacts } from '@csc-fleet/sandbox/plan';
import { attachExecutor, executorIdentity } from './executor.ts';
import { followLocal, type Told } from './follow.ts';
import { gateIdentity, type LocalGate, localPrincipal } from './gate.ts';
import type { LocalRun, LocalRunResult } from './local-run.ts';

/** Runs an allowed contract on this host. Resolves once its receipt is verified and acknowledged. */
export async function execute(
  local: LocalGate,
  run: LocalRun,
  facts: Promise<HostFacts> | undefined,
): Promise<LocalRunResult> {
  const { options, mode } = run;
  const executor = await attachExecutor(local, {
    policy: run.policy,
    signer: run.signer,
    mode,
    // As in the reference: without a sandbox the policy is all that there is.
    inlineCode: options.inlineCode ?? mode === 'local',
    env: options.env,
    limits: toLimits(options),
    onNotice: options.onNotice,
    stateDir: run.stateDir,
    facts,
  });
  try {
    throwIfAborted(options.signal);
    const submitted = await local.gate.methods.submit({ principal: localPrincipal, request: run.request });
    using _stop = onAbort(options.signal, () => endGently(local, submitted.executionId));
    using _kill = onAbort(options.killSignal, () => executor.endAll('cancelled', 0));
    const result = await Promise.race([followToReceipt(local, run, submitted), local.failed]);
    await executor.delivered();
    return result;
  } finally {
    executor.endAll('cancelled', 0);
    await executor.close();
  }
}

function toLimits({ stdoutBytes, stderrBytes }: LocalRun['options']) {
  return {
    ...(stdoutBytes === undefined ? {} : { stdoutBytes }),
    ...(stderrBytes === undefined ? {} : { stderrBytes }),
  };
}

/** Throws CANCELLED where the caller no longer wants what has not begun. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new CscError('CANCELLED', 'the caller aborted the run before it began', { cause: signal.reason });
}

// Nobody would hear of a run that cannot be ended any more: that it failed ends the whole.
function endGently({ gate, fail }: LocalGate, executionId: string): void {
  gate.methods
    .cancel({ principal: localPrincipal, request: { executionId, gracePeriod: undefined } })
    .catch(fail);
}

function onAbort(signal: AbortSignal | undefined, act: () => void): Disposable {
  if (signal?.aborted === true) act();
  else signal?.addEventListener('abort', act, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', act) };
}

async function followToReceipt(
  local: LocalGate,
  run: LocalRun,
  submitted: SubmitResponse,
): Promise<LocalRunResult> {
  const receiver = createReceiver(run.options.handlers ?? {}, run.receiptVersion, submitted.executionId);
  const told = await followLocal(local.gate, receiver, submitted.executionId);
  return conclude(local, run, { submitted, receiver, told });
}

/** What is reported follows from the receipt, held against what was asked for and what output came. */
function conclude(
  local: LocalGate,
  run: LocalRun,
  { submitted, receiver, told }: { submitted: SubmitResponse; receiver: Receiver; told: Told },
): LocalRunResult {
  const { executionId, decision } = submitted;
  const { contract, contractSha256, receiptVersion } = run;
  const genuine = verifyReceiptFor(
    { executionId, contractSha256, receiptVersion, commands: contract.commands, success: 'consistent' },
    told,
    ringOf(local, run),
  );
  const { receipt, signer, chained } = genuine;
  if (signer === undefined) throw new CscError('RECEIPT_INVALID', 'the receipt is signed by nobody known');
  receiver.outputCheck.verify(receipt);
  const { execution, exitCode } = concludeFrom(told.execution, { receipt, signer, chained });
  const { receiptJson } = told;
  return { executionId, execution, decision, receipt, receiptJson, exitCode, withheld: undefined };
}

// The executor's key for what ran, the gate's for what was cancelled before it could.
function ringOf(local: LocalGate, { signer }: LocalRun) {
  return createKeyRing([
    { keyId: signer.keyId, publicKey: signer.publicKey, owner: executorIdentity.uri },
    { keyId: local.signer.keyId, publicKey: local.signer.publicKey, owner: gateIdentity },
  ]);
}
