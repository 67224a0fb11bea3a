import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { CscError, isRpcReason, type RpcReason } from '@csc-fleet/common/errors';
import type { Offer, Refused } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { Host } from './host.ts';
import type { UserLease } from './job-users.ts';
import type { OutputSpool } from './output/index.ts';
import { type PreparedCommand, withdraw } from './prepare-command.ts';
import { buildRefusal, sealReceipt } from './receipt/index.ts';
import type { RunSecrets } from './run-secrets.ts';
import { genuineTicket } from './ticket/index.ts';

/** How far an offer has come. */
export interface Attempt {
  contract?: CommandContract;
  /** Set once it was found to be genuine and unused. */
  ticket?: ExecutionTicket;
  document?: PolicyDocument;
  approvals?: readonly ApprovalArtifact[];
  /** Set while there is one to delete. */
  spool?: OutputSpool;
  secrets?: RunSecrets;
  lease?: UserLease;
  /** Built and held. */
  first?: PreparedCommand;
}

/** Gives back what an attempt had taken that will not run. */
export async function giveBack({ first, spool, secrets, lease }: Attempt, host: Host): Promise<void> {
  if (first !== undefined) await withdraw(first);
  secrets?.wipe();
  await lease?.giveBack();
  if (spool === undefined) return;
  await spool.discard();
  host.spools.release(spool.executionId);
}

/**
 * What the gate is told of an offer that was not redeemed and will not be. The signed `blocked` receipt is left out
 * where it would be untrue or not ours to give: for a ticket that is not genuine, that was redeemed before, and where
 * another attempt may succeed.
 */
export function toRefused(offer: Offer, error: unknown, attempt: Attempt, host: Host): Refused {
  const { reason, message } = toReason(error);
  const receiptJson = transient.has(reason)
    ? undefined
    : refusalReceipt(offer, error, message, attempt, host);
  return { executionId: offer.executionId, reason, message, receiptJson: Buffer.from(receiptJson ?? []) };
}

const transient: ReadonlySet<string> = new Set<RpcReason>([
  'DRAINING',
  'QUEUE_FULL',
  'SPOOL_FULL',
  'STORE_UNAVAILABLE',
  'TICKET_REPLAYED',
]);

interface Refusal {
  readonly reason: RpcReason;
  readonly message: string;
}

function toReason(error: unknown): Refusal {
  if (!(error instanceof CscError))
    return { reason: 'INTERNAL', message: 'the executor failed; its log says more' };
  if (isRpcReason(error.code)) return { reason: error.code, message: error.message };
  // A scope that this host does not have: another host may.
  return {
    reason: 'SANDBOX_UNAVAILABLE',
    message: `this host cannot give what is declared: ${error.message}`,
  };
}

function refusalReceipt(
  offer: Offer,
  error: unknown,
  message: string,
  attempt: Attempt,
  host: Host,
): Uint8Array | undefined {
  const { contract, document, approvals = [] } = attempt;
  const ticket = attempt.ticket ?? genuineTicket(offer, error);
  if (contract === undefined || ticket === undefined) return undefined;
  // An expired ticket may have been redeemed while it was good.
  if (host.journal.isRedeemed(ticket.ticket_id, ticket.execution_id)) return undefined;
  const { executorId, signer, workplace } = host;
  const now = host.clock.now();
  const subject = { executorId, executionMode: workplace.mode, contract, ticket, approvals, startedAt: now };
  const receipt = buildRefusal({ ...subject, ...(document === undefined ? {} : { document }) }, message);
  return sealReceipt(receipt, { version: ticket.grant.receipt_version, signer, now }).receiptJson;
}
