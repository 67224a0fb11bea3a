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
import type { Bindings } from '@csc-fleet/common/policy';
import { requestInvalid } from '../bounds/index.ts';
import type { Executions, Principal } from '../execution/executions.ts';
import { checkAdmin, type ReceiptReaderPorts, withReceiptFor } from '../execution/readers.ts';
import { missingOf } from '../execution/reviews.ts';
import { toDecision, toExecution } from '../execution/row.ts';
import { type Absences, absenceOf } from '../schedule/absences.ts';
import type { Store } from '../store/store.ts';
import type { KeyRow } from '../store/tables.ts';

const defaultPage = 50;
const maxPage = 1000;

interface NamePorts {
  readonly absences: Pick<Absences, 'of'>;
  readonly executions: Pick<Executions, 'named'>;
}

/** Also by the beginning of its id. Throws EXECUTION_UNKNOWN, as all look-ups by id do. */
export async function getExecution(
  ports: NamePorts,
  principal: Principal,
  request: GetExecutionRequest,
): Promise<GetExecutionResponse> {
  const found = await ports.executions.named(principal, request.executionId);
  const { row, resolutions } = found;
  return {
    execution: toExecution(row),
    decision: toDecision(row),
    resolutionsJson: [...resolutions],
    absence: absenceOf(ports, found),
    reviews: [...found.reviews],
    approvalMissing: missingOf(found),
  };
}

interface ListPorts {
  readonly store: Pick<Store, 'list'>;
  readonly bindings: Bindings;
}

/** The principal's own executions, newest first; of an admin who asks for it, everybody's. Throws NOT_PERMITTED. */
export async function listExecutions(
  { store, bindings }: ListPorts,
  principal: Principal,
  request: ListExecutionsRequest,
): Promise<ListExecutionsResponse> {
  const size = request.pageSize <= 0 ? defaultPage : Math.min(request.pageSize, maxPage);
  const before = readPageToken(request.pageToken);
  if (request.allPrincipals) checkAdmin(bindings, principal);
  const states = [...new Set(request.states)];
  const rows = await store.list({
    ...(request.allPrincipals ? {} : { principal: principal.uri }),
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

/** A page token for the executions before this number. It says nothing to whoever holds it. */
function toPageToken(before: number): string {
  return Buffer.from(`p1:${before}`).toString('base64url');
}

/** The number in a page token; undefined for the first page. Throws REQUEST_INVALID for one that no gate gave. */
function readPageToken(token: string): number | undefined {
  if (token === '') return undefined;
  const before = Number(/^p1:([1-9]\d{0,15})$/.exec(Buffer.from(token, 'base64url').toString())?.[1]);
  if (Number.isSafeInteger(before) && toPageToken(before) === token) return before;
  throw requestInvalid('page_token', 'is not one that this gate gave: begin again without it');
}

interface ReceiptPorts extends ReceiptReaderPorts {
  readonly store: Pick<Store, 'receipt' | 'lateReceipt'>;
}

/** Of what the owners have resolved, the one that came later. Throws EXECUTION_UNKNOWN also where there is no receipt yet. */
export async function getReceipt(
  ports: ReceiptPorts,
  principal: Principal,
  request: GetReceiptRequest,
): Promise<GetReceiptResponse> {
  const { store } = ports;
  const execution = await withReceiptFor(ports, principal, request.executionId);
  const isResolved = execution.resolutions.length > 0;
  const { executor_id: holder } = execution.row;
  const receipt = await (isResolved
    ? store.lateReceipt(execution.id, holder ?? '')
    : store.receipt(execution.id));
  if (receipt !== undefined) return receipt;
  if (isResolved)
    throw new CscError('EXECUTION_UNKNOWN', 'the owners have resolved it, and no receipt has come since');
  throw new CscError('EXECUTION_UNKNOWN', 'the execution has no receipt yet: wait until it has ended', {
    retryAfterMs: 1000,
  });
}

/** The keys of the gate itself and of all executors. */
export interface KnownKeys {
  all(): readonly KeyRow[];
  find(keyId: string): KeyRow | undefined;
}

// A fleet's worth of keys fits into no answer that a client should have to take.
const maxKeys = 1000;

/** The keys that receipts and decisions verify with: the gate's own and the executors'. Throws REQUEST_INVALID. */
export function getKeys(keys: KnownKeys, { keyIds }: GetKeysRequest): GetKeysResponse {
  const rows = keyIds.length === 0 ? keys.all() : [...new Set(keyIds)].flatMap((id) => keys.find(id) ?? []);
  if (rows.length > maxKeys)
    throw requestInvalid('key_ids', `must name the keys wanted: this gate has ${rows.length}`);
  return { keys: rows.map(toPublicKey) };
}

function toPublicKey({ key_id: keyId, public_key: publicKey, owner, since }: KeyRow): PublicKey {
  const role = parseIdentity(owner)?.role === 'executor' ? KeyRole.EXECUTOR : KeyRole.GATE;
  return {
    keyId,
    publicKey: Buffer.from(publicKey),
    owner,
    role,
    // When this gate met an executor's key says nothing of when that began to sign: its clock may have been set back since, or
    // this gate be restored from a time before.
    notBefore: role === KeyRole.EXECUTOR ? undefined : new Date(since),
    notAfter: undefined,
    revokedAt: undefined,
  };
}
