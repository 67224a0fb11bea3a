import { CscError } from '@csc-fleet/common/errors';
import { parseIdentity } from '@csc-fleet/common/identity';
import {
  type GetExecutionRequest,
  type GetExecutionResponse,
  type GetKeysRequest,
  type GetKeysResponse,
  type GetReceiptRequest,
  type GetReceiptResponse,
  KeyRole,
  type ListExecutionsRequest,
  type ListExecutionsResponse,
  type PublicKey,
} from '@csc-fleet/common/messages';
import { requestInvalid } from '../bounds/request-invalid.ts';
import { toDecision, toExecution } from '../execution/to-message.ts';
import type { ExecutorKeys } from '../link/executor-keys.ts';
import type { GateContext } from '../service/context.ts';
import type { KeyRow } from '../store/tables.ts';
import { readPageToken, toPageToken } from './page-token.ts';

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
  const before = readPageToken(request.pageToken);
  const states = [...new Set(request.states)];
  const rows = await gate.store.list({
    principal,
    states,
    limit: size + 1,
    ...(before === undefined ? {} : { before }),
  });
  const page = rows.slice(0, size);
  const last = page.at(-1);
  return {
    executions: page.map(toExecution),
    nextPageToken: rows.length > size && last !== undefined ? toPageToken(last.number) : '',
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

// A fleet's worth of keys fits into no answer that a client should have to take.
const maxKeys = 1000;

/** The keys that receipts and decisions verify with: the gate's own and the executors'. Throws REQUEST_INVALID. */
export function getKeys(keys: ExecutorKeys, { keyIds }: GetKeysRequest): GetKeysResponse {
  const rows = keyIds.length === 0 ? keys.all() : [...new Set(keyIds)].flatMap((id) => keys.find(id) ?? []);
  if (rows.length > maxKeys)
    throw requestInvalid('key_ids', `must name the keys wanted: this gate has ${rows.length}`);
  return { keys: rows.map(toPublicKey) };
}

function toPublicKey({ key_id: keyId, public_key: publicKey, owner, since }: KeyRow): PublicKey {
  return {
    keyId,
    publicKey: Buffer.from(publicKey),
    owner,
    role: parseIdentity(owner)?.role === 'executor' ? KeyRole.EXECUTOR : KeyRole.GATE,
    notBefore: new Date(since),
    notAfter: undefined,
    revokedAt: undefined,
  };
}
