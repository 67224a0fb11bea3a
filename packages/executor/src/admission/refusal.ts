import { dirname } from 'node:path';
import type { CountedApproval } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, isCscError, isRpcReason, type RpcReason, retryOf } from '@csc-fleet/common/errors';
import { type ReceiptTexts, sealChained, toReceiptError } from '@csc-fleet/common/evidence';
import type { Offer, Refused } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';

import type { Log } from '@csc-fleet/common/service';
import { buildRefusal, type ExecutionMode } from '../evidence/index.ts';
import type { Journal, Refusal as JournalRefusal } from '../journal/index.ts';
import type { ClaimedSubmission } from './offer.ts';
import { msUntilBegun, toUse } from './single-use.ts';
import { type SubmittedTicket, toAsked } from './submission.ts';
import { findOnceGenuine, type Trust } from './verify-ticket.ts';

/**
 * What every value of admission says of an offer, as far as it had come: what came with it, before anything of it was
 * believed, or the step that believed it. One of both must be there, as a refusal that did not name the submission would
 * not use it up.
 */
export type Papers =
  | {
      readonly contract: CommandContract;
      readonly contractSha256: string;
      readonly claimed: ClaimedSubmission | undefined;
    }
  | {
      readonly contract: CommandContract;
      readonly submitted: SubmittedTicket;
      readonly document?: PolicyDocument;
      readonly approvals?: readonly CountedApproval[];
    };

/** Why an offer is not run, and how far it had come. */
export interface Refusal<Stage extends Papers = Papers> {
  readonly offer: Offer;
  readonly error: unknown;
  /** What the last step gave that it passed. Absent where not even its contract could be read. */
  readonly reached?: Stage | undefined;
}

/** What signs a refusal. */
export interface RefusalPorts {
  readonly trust: Omit<Trust, 'now'>;
  readonly executionMode: ExecutionMode;
  readonly journal: Pick<Journal, 'findObjection' | 'refuse'>;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is to be said of a refused offer. */
export interface PlannedRefusal {
  /** Without a receipt. */
  readonly refused: Refused;
  /** Where it is to be signed: what the journal must hold before anyone sees it. */
  readonly record?: JournalRefusal;
}

/**
 * What the gate is told of an offer that was not redeemed and will not be. The signed `blocked` receipt is an outcome
 * like any other: with it the ticket and the execution are used up. It is left out where it would be untrue or not ours
 * to give: for a ticket that is not genuine, not for this contract or used before, and where another attempt may
 * succeed.
 */
export function planRefusal(refusal: Refusal, ports: RefusalPorts): PlannedRefusal {
  const { offer, error } = refusal;
  const why = toReason(error);
  try {
    const record = planRecord(refusal, why, ports);
    return { refused: toRefused(offer, why), ...(record === undefined ? {} : { record }) };
  } catch (failure) {
    ports.log.error({ executionId: offer.executionId, error: failure }, 'a refusal could not be signed');
    return { refused: toUnsigned(offer, failure) };
  }
}

/**
 * Resolves with what may be said of it, once the journal holds what is signed in it. Where another attempt at the same
 * ticket was faster, or the disk is full, there is no outcome of this one, and it says that instead.
 */
export async function journalRefusal(
  { refused, record }: PlannedRefusal,
  { journal, log }: Pick<RefusalPorts, 'journal' | 'log'>,
): Promise<Refused> {
  if (record === undefined) return refused;
  try {
    return withReceipt(refused, await journal.refuse(record));
  } catch (failure) {
    log.warn({ executionId: refused.executionId, error: failure }, 'a signed refusal does not count');
    return toUnsigned(refused, failure);
  }
}

/** A refusal that nobody signs and that uses nothing up. */
export function toUnsigned({ executionId }: Pick<Offer, 'executionId'>, error: unknown): Refused {
  return toRefused({ executionId }, toReason(error));
}

function toRefused(
  { executionId }: Pick<Offer, 'executionId'>,
  { reason, message, isLasting }: Why,
): Refused {
  // As its receipt says it: whoever writes a contract must not choose how long a message to the gate is, which ends the connection
  // where it is too long.
  const told = toReceiptError(message);
  return {
    executionId,
    reason,
    message: told,
    lasting: isLasting,
    ...toTexts({ receiptJson: Buffer.alloc(0) }),
  };
}

function withReceipt(refused: Refused, receipt: ReceiptTexts): Refused {
  return { ...refused, ...toTexts(receipt) };
}

function toTexts({ receiptJson, originalJson }: ReceiptTexts): Pick<Refused, 'receiptJson' | 'originalJson'> {
  return { receiptJson: Buffer.from(receiptJson), originalJson: Buffer.from(originalJson ?? []) };
}

// Another attempt may succeed, or another host may have it by now, whose receipt is the one; or it has its outcome here.
const isOpen = (reason: RpcReason): boolean => retryOf(reason) !== 'no' || reason === 'TICKET_REPLAYED';

interface Why {
  readonly reason: RpcReason;
  readonly message: string;
  /** Until its owner has done something. */
  readonly isLasting: boolean;
}

/** What a host may have run out of (errno(3)): no fault of a contract's. */
const shortages: Readonly<Record<string, readonly [RpcReason, string]>> = {
  EMFILE: [
    'SANDBOX_UNAVAILABLE',
    'this host has no file descriptors left for the executor (EMFILE): raise LimitNOFILE',
  ],
  ENFILE: ['SANDBOX_UNAVAILABLE', 'this host has no file descriptors left (ENFILE): raise fs.file-max'],
  ENOMEM: ['SANDBOX_UNAVAILABLE', 'this host has no memory left (ENOMEM)'],
  EAGAIN: [
    'SANDBOX_UNAVAILABLE',
    'this host starts no more processes for the executor (EAGAIN): raise TasksMax',
  ],
  ENOSPC: ['SPOOL_FULL', 'a disk of this host is full (ENOSPC)'],
  EDQUOT: ['SPOOL_FULL', 'a disk quota of this host is used up (EDQUOT)'],
};

// However far down: what cannot be opened for want of a descriptor is told as a path that is not there.
function findShortage(error: unknown): Why | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const found = 'code' in at ? shortages[String(at.code)] : undefined;
    if (found !== undefined)
      return { reason: found[0], message: `${found[1]}${whereToMakeRoom(found[0], at)}`, isLasting: false };
  }
  return undefined;
}

/**
 * What a host lacks as a CscError that says so: SANDBOX_UNAVAILABLE or SPOOL_FULL. Undefined for an error that is about
 * anything else.
 */
export function toShortage(error: unknown): CscError | undefined {
  const shortage = findShortage(error);
  if (shortage !== undefined) return new CscError(shortage.reason, shortage.message, { cause: error });
  return isCscError(error, 'SANDBOX_UNAVAILABLE') ? error : undefined;
}

// The one that the call was about, where it says so: it may be neither of the two (write(2) knows of no path).
function whereToMakeRoom(reason: RpcReason, error: Error): string {
  if (reason !== 'SPOOL_FULL') return '';
  const path = 'path' in error && typeof error.path === 'string' ? dirname(error.path) : undefined;
  return `: make room ${path === undefined ? 'in state_dir and /tmp' : `on the disk of ${path}`}`;
}

function toReason(error: unknown): Why {
  const shortage = findShortage(error);
  if (shortage !== undefined) return shortage;
  if (!(error instanceof CscError)) return toFailure(error);
  if (isRpcReason(error.code))
    return { reason: error.code, message: error.message, isLasting: error.isLasting };
  // Any other error of this host: it lacks something, and the message says what.
  return {
    reason: 'SANDBOX_UNAVAILABLE',
    message: `this host cannot give what is declared: ${error.message}`,
    isLasting: true,
  };
}

// Errors of the system (errno(3)) that what is asked for can bring about, whichever host is asked.
const askedFor: ReadonlySet<string> = new Set(['E2BIG', 'EINVAL', 'ELOOP', 'EILSEQ', 'ENAMETOOLONG']);

// What the system refuses is this host's fault, as files of its own that are gone or a disk that fails: another host may do it.
function toFailure(error: unknown): Why {
  const says = 'its log says more';
  const code = error instanceof Error && 'syscall' in error && 'code' in error ? String(error.code) : '';
  if (code === '' || askedFor.has(code))
    return { reason: 'INTERNAL', message: `the executor failed; ${says}`, isLasting: false };
  return {
    reason: 'SANDBOX_UNAVAILABLE',
    message: `this host failed at it (${code}); ${says}`,
    isLasting: false,
  };
}

function planRecord(
  { offer, reached }: Refusal,
  { reason, message }: Why,
  { trust, executionMode, journal, signer, clock }: RefusalPorts,
): JournalRefusal | undefined {
  if (isOpen(reason) || reached === undefined) return undefined;
  const { contract } = reached;
  const believed = 'submitted' in reached ? reached : undefined;
  const { document, approvals = [] } = believed ?? { document: undefined };
  const { claimed, contractSha256 } = 'submitted' in reached ? reached.submitted : reached;
  const ticket = findOnceGenuine({ ...offer, contractSha256 }, trust);
  // One that has not begun yet may still run.
  if (ticket === undefined || msUntilBegun({ ticket, submission: claimed }, clock) > 0) return undefined;
  const use = toUse(ticket, claimed);
  // Nor does anybody know what became of a ticket that the journal cannot vouch for.
  if (journal.findObjection(use) !== undefined) return undefined;
  const now = clock.now();
  const { executorId } = trust;
  const about = { contract, contractSha256, ticket, approvals };
  const subject = { executorId, executionMode, ...about, startedAt: now };
  const why = `${reason}: ${message}`;
  const known = {
    ...(document === undefined ? {} : { document }),
    asked: {
      ...(believed === undefined ? { warnings: [] } : toAsked(believed.submitted)),
      ...(claimed === undefined ? {} : { submission: claimed }),
    },
  };
  const receipt = buildRefusal({ ...subject, ...known }, why);
  const sealing = { version: ticket.grant.receipt_version, signer, now };
  return { ...use, refusedAt: now, seal: (link) => sealChained(receipt, sealing, link) };
}
