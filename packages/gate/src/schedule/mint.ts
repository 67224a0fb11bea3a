import { randomUUID } from 'node:crypto';
import { parseAnyApproval } from '@csc-fleet/common/approval';
import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { signArtifact } from '@csc-fleet/common/evidence';
import { type GrantedLimits, narrowLimits } from '@csc-fleet/common/limits';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { PolicySet } from '@csc-fleet/common/policy';
import type { ReceiptVersion } from '@csc-fleet/common/receipt';
import type { TerminalWish } from '@csc-fleet/common/schema';
import { maxTicketLifeMs, type UnsignedTicket } from '@csc-fleet/common/ticket';
import type { Happening } from '../execution/execution.ts';
import { fromStoredApprovals } from '../execution/row.ts';
import { type HeldSubmission, submissionOf } from '../execution/submission-of.ts';
import type { NewExecution } from '../store/tables.ts';
import { toOfferTimes } from './offers.ts';
import type { Seat } from './peer.ts';

/** What a ticket says of its execution, from a row that is recorded or is about to be. */
export type Mintable = Pick<
  NewExecution,
  | 'execution_id'
  | 'contract_sha256'
  | 'policy_sha256'
  | 'policy_profile'
  | 'principal'
  | 'receipt_version'
  | 'approvals_json'
  | 'submission_json'
  | 'submission_token'
  | 'trace_context'
  | 'terminal_json'
>;

/** A seat that an execution has taken, and the ticket for it. */
export interface Placement extends Seat {
  readonly ticketId: string;
  /** Canonical JSON. */
  readonly ticketJson: Buffer;
  /** When the ticket was made, on the monotonic clock. */
  readonly at: number;
  readonly approvals: readonly Buffer[];
  /** The submission as it came; empty where there is none. */
  readonly submissionJson: Buffer;
  /** The token that came with it; undefined where there is none. */
  readonly submissionToken: string | undefined;
  /** What the execution's row and events must say before the offer is sent. */
  readonly change: {
    readonly state: number;
    readonly executor_id: string;
    readonly ticket_id: string;
    readonly ticket_epoch: string;
    readonly limits_json: string;
  };
  readonly happened: Happening;
}

/** Makes the signed ticket for one execution on the one executor that may redeem it. */
export type Mint = (row: Mintable, seat: Seat) => Placement;

export interface MintPorts {
  readonly gateId: string;
  readonly signer: Signer;
  readonly policies: Pick<PolicySet, 'bySha256'>;
  readonly clock: Clock;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  readonly limits: {
    /** The most that any ticket grants; a policy with limits narrows it. */
    readonly output: GrantedLimits;
    /** For the answer to an offer. */
    readonly offerDeadlineSec: number;
  };
}

export function createMint(ports: MintPorts): Mint {
  return (row, seat) => {
    const { peer } = seat;
    // Before the ticket: what is due for it is counted from here.
    const at = ports.monotonicMs();
    const submissionJson = Buffer.from(row.submission_json ?? '');
    const submission = submissionOf(row);
    const limits = narrowLimits(limitsOf(row, ports), submission?.submission.options.limits ?? {});
    const approvals = fromStoredApprovals(row.approvals_json);
    const hostsNow = new Date(ports.clock.now().getTime() + peer.skew.ms);
    const granted = { audience: peer.name, epoch: peer.epoch, approvals, submission, limits, hostsNow };
    const { ticketId, ticketJson } = signTicket(row, granted, ports);
    return {
      ...seat,
      ticketId,
      ticketJson,
      at,
      approvals,
      submissionJson,
      submissionToken: row.submission_token ?? undefined,
      change: {
        state: ExecutionState.OFFERED,
        executor_id: peer.id,
        ticket_id: ticketId,
        ticket_epoch: peer.epoch,
        limits_json: JSON.stringify(limits),
      },
      happened: { $case: 'placed', value: { executorId: peer.name, labels: { ...peer.labels } } },
    };
  };
}

interface Terms {
  /** The one executor that may redeem it. */
  readonly audience: string;
  /** Of that executor; empty where it names none, as those before 0.3. */
  readonly epoch: string;
  readonly approvals: readonly Buffer[];
  readonly submission: HeldSubmission | undefined;
  readonly limits: GrantedLimits;
  /** By the clock of that executor, which is the one that holds the ticket against its times. */
  readonly hostsNow: Date;
}

function signTicket(
  row: Mintable,
  { audience, epoch, approvals, submission, limits, hostsNow: now }: Terms,
  { gateId, signer, limits: { offerDeadlineSec } }: MintPorts,
): Pick<Placement, 'ticketId' | 'ticketJson'> {
  const lifeMs = Math.min(toOfferTimes(offerDeadlineSec).ticketLifeMs, maxTicketLifeMs);
  const ticket: UnsignedTicket = {
    ticket_version: 'csc.ticket.v0.1',
    ticket_id: randomUUID(),
    issuer: gateId,
    audience,
    execution_id: row.execution_id,
    contract_sha256: row.contract_sha256,
    policy_sha256: row.policy_sha256,
    policy_profile: row.policy_profile,
    principal: row.principal,
    approval_ids: [...new Set(approvalIds(approvals))],
    ...whatItKnows(epoch, submission),
    grant: { receipt_version: row.receipt_version as ReceiptVersion, limits, ...terminalOf(row) },
    not_before: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + lifeMs)),
  };
  return { ticketId: ticket.ticket_id, ticketJson: signArtifact(ticket, signer, now) };
}

// An executor of the release before refuses a ticket with members that it does not know; it asks for no submission, either.
function whatItKnows(
  epoch: string,
  submission: HeldSubmission | undefined,
): Pick<UnsignedTicket, 'executor_epoch' | 'submission_sha256'> {
  if (epoch === '') return {};
  if (submission === undefined) return { executor_epoch: epoch };
  return { executor_epoch: epoch, submission_sha256: submission.sha256 };
}

function terminalOf({ terminal_json: json }: Mintable): { terminal?: TerminalWish } {
  return json === null || json === undefined ? {} : { terminal: JSON.parse(json) as TerminalWish };
}

// A policy that is not held here any more can narrow nothing; an executor that holds it still does.
function limitsOf({ policy_sha256: sha256 }: Mintable, { limits, policies }: MintPorts): GrantedLimits {
  return narrowLimits<GrantedLimits>(limits.output, policies.bySha256(sha256)?.policy.limits ?? {});
}

// Those that do not parse were never stored.
function approvalIds(approvals: readonly Buffer[]): string[] {
  return approvals.flatMap((it) => {
    const approval = parseAnyApproval(it);
    return approval.ok ? [approval.value.id] : [];
  });
}
