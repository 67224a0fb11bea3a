import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { CscError, isRpcReason, type RpcReason, retryOf } from '@csc-fleet/common/errors';
import { sealReceipt } from '@csc-fleet/common/evidence';
import type { Offer, Refused } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { UserLease } from '@csc-fleet/sandbox/host';
import { buildRefusal } from '../evidence/index.ts';
import type { Refusal as SignedRefusal } from '../journal/index.ts';
import type { OutputSpool } from '../output/index.ts';
import type { Host } from '../run/host.ts';
import { type PreparedCommand, withdraw } from '../run/prepare-command.ts';
import type { RunSecrets } from '../secrets/index.ts';
import { genuineTicket, msUntilTicket, toUse } from './index.ts';

/** How far an offer has come. */
export interface Attempt {
  contract?: CommandContract;
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

/** What is to be said of a refused offer. */
export interface PlannedRefusal {
  readonly refused: Refused;
  /** Where it is signed: what the journal must hold before anyone sees it. */
  readonly record?: SignedRefusal;
}

/**
 * What the gate is told of an offer that was not redeemed and will not be. The signed `blocked` receipt is an outcome
 * like any other: with it the ticket and the execution are used up. It is left out where it would be untrue or not ours
 * to give: for a ticket that is not genuine, not for this contract or used before, and where another attempt may
 * succeed.
 */
export function planRefusal(offer: Offer, error: unknown, attempt: Attempt, host: Host): PlannedRefusal {
  const refusal = toReason(error);
  try {
    const record = signRefusal(offer, refusal, attempt, host);
    if (record === undefined) return { refused: toRefused(offer, refusal) };
    return { refused: toRefused(offer, refusal, record.receiptJson), record };
  } catch (failure) {
    host.log.error({ executionId: offer.executionId, error: failure }, 'a refusal could not be signed');
    return { refused: toUnsigned(offer, failure) };
  }
}

/**
 * Resolves with what may be said of it, once the journal holds what is signed in it. Where another attempt at the same
 * ticket was faster, or the disk is full, there is no outcome of this one, and it says that instead.
 */
export async function journalRefusal({ refused, record }: PlannedRefusal, host: Host): Promise<Refused> {
  if (record === undefined) return refused;
  try {
    await host.journal.refuse(record);
    return refused;
  } catch (failure) {
    host.log.warn({ executionId: refused.executionId, error: failure }, 'a signed refusal does not count');
    return toUnsigned(refused, failure);
  }
}

/** A refusal that nobody signs and that uses nothing up. */
export function toUnsigned({ executionId }: Pick<Offer, 'executionId'>, error: unknown): Refused {
  return toRefused({ executionId }, toReason(error));
}

function toRefused(
  { executionId }: Pick<Offer, 'executionId'>,
  { reason, message }: Refusal,
  receiptJson: Uint8Array = new Uint8Array(),
): Refused {
  return { executionId, reason, message, receiptJson: Buffer.from(receiptJson) };
}

// Another attempt may succeed, or another host may have it by now, whose receipt is the one; or it has its outcome here.
const isOpen = (reason: RpcReason): boolean => retryOf(reason) !== 'no' || reason === 'TICKET_REPLAYED';

interface Refusal {
  readonly reason: RpcReason;
  readonly message: string;
}

function toReason(error: unknown): Refusal {
  if (!(error instanceof CscError))
    return { reason: 'INTERNAL', message: 'the executor failed; its log says more' };
  if (isRpcReason(error.code)) return { reason: error.code, message: error.message };
  // Any other error of this host: it lacks something, and the message says what.
  return {
    reason: 'SANDBOX_UNAVAILABLE',
    message: `this host cannot give what is declared: ${error.message}`,
  };
}

function signRefusal(
  offer: Offer,
  { reason, message }: Refusal,
  { contract, document, approvals = [] }: Attempt,
  host: Host,
): SignedRefusal | undefined {
  if (isOpen(reason) || contract === undefined) return undefined;
  const ticket = genuineTicket(offer, contract, host);
  const now = host.clock.now();
  // One that has not begun yet may still run.
  if (ticket === undefined || msUntilTicket(ticket, host.clock) > 0) return undefined;
  // Nor does anybody know what became of a ticket that the journal cannot vouch for.
  if (host.journal.findObjection(toUse(ticket)) !== undefined) return undefined;
  const { executorId, signer, workplace } = host;
  const subject = { executorId, executionMode: workplace.mode, contract, ticket, approvals, startedAt: now };
  const why = `${reason}: ${message}`;
  const receipt = buildRefusal({ ...subject, ...(document === undefined ? {} : { document }) }, why);
  const { receiptJson } = sealReceipt(receipt, { version: ticket.grant.receipt_version, signer, now });
  return { ...toUse(ticket), refusedAt: now, receiptJson };
}
