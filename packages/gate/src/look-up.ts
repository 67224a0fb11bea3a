import { CscError } from '@csc-fleet/common/errors';
import type {
  GetExecutionRequest,
  GetExecutionResponse,
  GetKeysRequest,
  GetKeysResponse,
  GetReceiptRequest,
  GetReceiptResponse,
  ListExecutionsRequest,
  ListExecutionsResponse,
  PublicKey,
} from '@csc-fleet/common/messages';
import type { GateContext } from './context.ts';
import { toDecision, toExecution } from './execution/to-message.ts';

const defaultPage = 50;
const maxPage = 1000;

/** Throws EXECUTION_UNKNOWN, as all look-ups by id do. */
export async function getExecution(
  gate: GateContext,
  principal: string,
  request: GetExecutionRequest,
): Promise<GetExecutionResponse> {
  const { row } = await gate.executions.visible(principal, request.executionId);
  return { execution: toExecution(row), decision: toDecision(row) };
}

/** The principal's own executions, newest first. */
export async function listExecutions(
  gate: GateContext,
  principal: string,
  request: ListExecutionsRequest,
): Promise<ListExecutionsResponse> {
  const size = request.pageSize <= 0 ? defaultPage : Math.min(request.pageSize, maxPage);
  const before = request.pageToken === '' ? undefined : Number(request.pageToken);
  if (before !== undefined && !Number.isSafeInteger(before)) {
    throw new CscError(
      'CONTRACT_INVALID',
      'page_token is not one that this gate gave: begin again without it',
    );
  }
  const { states } = request;
  const rows = await gate.store.list({
    principal,
    states,
    limit: size + 1,
    ...(before === undefined ? {} : { before }),
  });
  const page = rows.slice(0, size);
  return {
    executions: page.map(toExecution),
    nextPageToken: rows.length > size ? String(page.at(-1)?.number ?? '') : '',
  };
}

/** Throws EXECUTION_UNKNOWN also where there is no receipt yet. */
export async function getReceipt(
  gate: GateContext,
  principal: string,
  request: GetReceiptRequest,
): Promise<GetReceiptResponse> {
  const execution = await gate.executions.visible(principal, request.executionId);
  const receiptJson = await gate.store.receipt(execution.id);
  if (receiptJson !== undefined) return { receiptJson };
  throw new CscError('EXECUTION_UNKNOWN', 'the execution has no receipt yet: wait until it has ended', {
    retryAfterMs: 1000,
  });
}

/** The keys that receipts and decisions verify with: the gate's own and the executors'. */
export async function getKeys(gate: GateContext, request: GetKeysRequest): Promise<GetKeysResponse> {
  const rows = await gate.store.keys();
  const keys = rows.map(
    (row): PublicKey => ({
      keyId: row.key_id,
      publicKey: Buffer.from(row.public_key),
      owner: row.owner,
      notBefore: new Date(row.since),
      notAfter: undefined,
      revokedAt: undefined,
    }),
  );
  return {
    keys: request.keyIds.length === 0 ? keys : keys.filter((key) => request.keyIds.includes(key.keyId)),
  };
}
