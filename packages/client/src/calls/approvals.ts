import {
  type ApprovalsGetResponse,
  ApprovalsService,
  type PendingApproval,
  type ReviewResponse,
} from '@csc-fleet/common/rpc';
import type { Connection } from '../connection/connection.ts';
import { type ReconnectOptions, resuming } from '../connection/reconnect.ts';
import type { CallOptions } from './calls.ts';

/** What is waited for, or that it is waited for no more. */
export interface ApprovalChange {
  readonly pending: PendingApproval;
  /** It was approved, rejected, cancelled, or has expired: `pending.execution.state` says which. */
  readonly over: boolean;
}

/**
 * What waits for people's agreement. All of it is the gate's word: hold what is signed against a contract of one's own reading
 * before anything is signed for, as `csc approve` does.
 */
export interface ApprovalsClient {
  /** What waits for an approval that the caller may give, oldest first. Throws NOT_PERMITTED for who is no approver. */
  list(options?: CallOptions): AsyncGenerator<PendingApproval, void>;
  /**
   * The same, and each as it changes, until `signal` ends it. After a connection is lost, everything that waits comes once
   * more.
   */
  watch(options?: CallOptions): AsyncGenerator<ApprovalChange, void>;
  /** All that a person must see before signing; also by the beginning of an id. Throws EXECUTION_UNKNOWN. */
  get(executionId: string, options?: CallOptions): Promise<ApprovalsGetResponse>;
  /**
   * Hands in an approval or a rejection (csc.approval.v0.2) or a break-glass (csc.break_glass.v0.1), signed, and returns once
   * that is on disk. Idempotent. Throws APPROVAL_INVALID.
   */
  review(executionId: string, artifact: string | Uint8Array, options?: CallOptions): Promise<ReviewResponse>;
}

export function createApprovals(connection: Connection, reconnect: ReconnectOptions): ApprovalsClient {
  return {
    list: (options = {}) => listPending(connection, options),
    watch: (options = {}) => watchPending(connection, reconnect, options),
    get: (executionId, { signal } = {}) => connection.unary(ApprovalsService.get, { executionId }, signal),
    review: (executionId, artifact, { signal } = {}) => {
      const artifactJson = Buffer.from(artifact);
      return connection.unary(ApprovalsService.review, { executionId, artifactJson }, signal);
    },
  };
}

async function* listPending(
  connection: Connection,
  { signal }: CallOptions,
): AsyncGenerator<PendingApproval, void> {
  let pageToken = '';
  do {
    const page = await connection.unary(ApprovalsService.list, { pageSize: 0, pageToken }, signal);
    yield* page.pending;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

async function* watchPending(
  connection: Connection,
  reconnect: ReconnectOptions,
  { signal }: CallOptions,
): AsyncGenerator<ApprovalChange, void> {
  const open = (bounded?: AbortSignal) => connection.stream(ApprovalsService.watch, {}, bounded);
  for await (const { pending, over } of resuming(open, reconnect, signal))
    if (pending !== undefined) yield { pending, over };
}
