import { isCscError } from '@csc-fleet/common/errors';
import { ExecutionState, GateService, Verdict } from '@csc-fleet/common/rpc';
import { type CallOptions, getExecution, type SubmitContext } from '../calls/calls.ts';
import type { SignedSubmission } from '../calls/signed.ts';
import { bindTo } from '../calls/submitter.ts';
import type { Connection } from '../connection/connection.ts';
import type { ReconnectOptions } from '../connection/reconnect.ts';
import type { ExecutionEvent } from '../stream/items.ts';
import { watch } from '../stream/read.ts';

/** Names a host in the submission of an execution, and hands that to the gate. */
export type Bind = (executionId: string, executorId: string, signal?: AbortSignal) => Promise<void>;

/** Names the host in a submission, for the gate; undefined where there is nothing to name it in. */
export function createBinder(
  { submitter, connection }: SubmitContext,
  submission: SignedSubmission | undefined,
  onBound?: (submissionJson: Buffer, executorId: string) => void,
): Bind | undefined {
  if (submitter === undefined || submission === undefined) return undefined;
  let first: Promise<Buffer> | undefined;
  return async (executionId, executorId, signal) => {
    // Not every signer signs the same twice, and the gate takes only the first.
    const known = await first;
    const submissionJson = await bindTo(executorId, submission, submitter);
    first ??= Promise.resolve(submissionJson);
    onBound?.(known ?? submissionJson, executorId);
    const request = { executionId, submissionJson: known ?? submissionJson };
    await connection.unary(GateService.bind, request, signal);
  };
}

// What comes again from the beginning may have been answered long ago: the gate then takes nothing but that answer.
export function tolerant(bind: Bind | undefined): { readonly bind?: Bind } {
  if (bind === undefined) return {};
  return {
    bind: (...args) =>
      bind(...args).catch((error: unknown) => {
        if (!isCscError(error, 'SUBMISSION_INVALID')) throw error;
      }),
  };
}

/** See GateClient.awaitPlacement. */
export async function awaitPlacement(
  context: SubmitContext & { readonly reconnect: ReconnectOptions },
  executionId: string,
  { signal }: CallOptions,
): Promise<void> {
  const submission = await context.submitter?.signed.ofExecution(executionId);
  const { bind } = tolerant(createBinder(context, submission));
  for await (const event of watch(context.connection, context.reconnect, executionId, { signal })) {
    if (event.type === 'bindingWanted') await bind?.(executionId, event.executorId, signal);
    if (await hasPlace(context.connection, event, signal)) return;
  }
}

async function hasPlace(
  connection: Connection,
  event: ExecutionEvent,
  signal?: AbortSignal,
): Promise<boolean> {
  if (event.type === 'placed' || event.type === 'started' || event.type === 'finished') return true;
  if (event.type !== 'decided' || event.decision?.verdict !== Verdict.NEEDS_APPROVAL) return false;
  const { execution } = await getExecution(connection, event.executionId, { signal });
  return execution.state === ExecutionState.AWAITING_APPROVAL;
}
