import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, guarded } from '@csc-fleet/common/errors';
import { type GrantedLimits, narrowLimits } from '@csc-fleet/common/limits';
import { ExecutionState, toDuration } from '@csc-fleet/common/messages';
import type { PolicySet } from '@csc-fleet/common/policy';
import { approvalIds, parseStoredApprovals } from '../approval/stored-approvals.ts';
import type { Ending } from '../execution/ending.ts';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { OutputLimits } from '../service/config.ts';
import type { ExecutionRow, NewExecution, WithdrawnOffer } from '../store/tables.ts';
import { type MintedTicket, mintTicket } from './mint-ticket.ts';
import { Offers, toOfferTimes } from './offers.ts';
import type { Peer } from './peer.ts';
import { Peers, type Requirement } from './peers.ts';
import { Queue } from './queue.ts';
import { Rests } from './rests.ts';

export interface SchedulerOptions {
  readonly gateId: string;
  readonly maxQueued: number;
  /** The most that any ticket grants; a policy with limits narrows it. */
  readonly limits: OutputLimits;
  readonly policies: PolicySet;
  readonly signer: Signer;
  readonly clock: Clock;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  /** For the answer to an offer. */
  readonly offerDeadlineSec: number;
  readonly executions: Executions;
  readonly ending: Ending;
  /** Told of what went wrong behind a caller's back. */
  readonly onError: (error: unknown) => void;
}

/** An executor chosen for an execution, and the ticket for it. */
export interface Placement {
  readonly executionId: string;
  readonly peer: Peer;
  readonly ticket: MintedTicket;
  /** When the ticket was made, on the monotonic clock. */
  readonly at: number;
  readonly approvals: readonly Buffer[];
  /** What the execution's row and events must say before the offer is sent. */
  readonly change: {
    readonly state: number;
    readonly executor_id: string;
    readonly ticket_id: string;
    readonly limits_json: string;
  };
  readonly happened: Happening;
}

/** Brings executions to executors: a queue, the executors connected, and the offer that joins the two. */
export class Scheduler {
  readonly peers = new Peers();
  readonly offers = new Offers();
  readonly rests: Rests;
  readonly #queue = new Queue();
  readonly #options: SchedulerOptions;
  #placing = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const onRested = guarded(() => this.place(), options.onError);
    this.rests = new Rests(this.peers, options.monotonicMs, onRested);
  }

  /** What is told of an execution that joins the queue now. */
  queuedEvent(reason = ''): Happening {
    return { $case: 'queued', value: { position: this.#queue.size, reason } };
  }

  /** Throws QUEUE_FULL or NO_MATCHING_EXECUTOR where an execution should not even be recorded. */
  checkRoom(requirement: Requirement): void {
    if (this.#queue.size >= this.#options.maxQueued) {
      const message = `${this.#queue.size} executions are waiting already: try again later, or add executors`;
      throw new CscError('QUEUE_FULL', message, { retryAfterMs: 2_000 });
    }
    this.peers.checkMatch(requirement);
  }

  /** Lets an execution wait for its turn, which may come at once; does nothing where it has had its turn meanwhile. */
  enqueue(execution: LiveExecution, front = false): void {
    if (execution.row.state !== ExecutionState.QUEUED) return;
    if (front) this.#queue.putBack(execution.id, requirementOf(execution.row));
    else this.#queue.add(execution.id, requirementOf(execution.row));
    this.place();
  }

  /** Puts those back in line that are QUEUED and not in it, as the store did not take what was to become of them. */
  restoreLine(): void {
    for (const execution of this.#options.executions.open()) {
      const { state } = execution.row;
      if (state !== ExecutionState.QUEUED || execution.changing || this.#queue.has(execution.id)) continue;
      this.#queue.putBack(execution.id, requirementOf(execution.row));
    }
    this.place();
  }

  /** Takes an execution out of the queue; false where it was not in it. */
  withdraw(executionId: string): boolean {
    return this.#queue.remove(executionId);
  }

  /** Offers what can be offered now. Call it after every change of queue or executors. */
  place(): void {
    // An offer may lead back here; the loop below sees what that changed.
    if (this.#placing) return;
    this.#placing = true;
    try {
      while (this.#placeOne()) {}
    } finally {
      this.#placing = false;
    }
  }

  #placeOne(): boolean {
    for (const { executionId, requirement } of this.#queue.heads()) {
      const execution = this.#options.executions.openById(executionId);
      if (execution?.row.state !== ExecutionState.QUEUED) return this.#queue.remove(executionId);
      const peer = this.peers.choose(requirement);
      if (peer === undefined) continue;
      this.#queue.remove(executionId);
      this.#offer(execution, peer);
      return true;
    }
    return false;
  }

  /**
   * Takes a free executor for an execution that is about to be recorded, so that one write records both; undefined
   * where all are busy or others wait for one like it. `send` or `release` must follow.
   */
  reserve(row: NewExecution, requirement: Requirement): Placement | undefined {
    if (this.#queue.hasLine(requirement)) return undefined;
    const peer = this.peers.choose(requirement);
    return peer === undefined ? undefined : this.#place(row as unknown as ExecutionRow, peer);
  }

  /** Gives a reserved executor back. */
  release({ peer, executionId }: Placement): void {
    peer.assigned.delete(executionId);
    this.place();
  }

  /** Sends the offer of a placement that is on disk. A gate that comes back must not make another one. */
  send(execution: LiveExecution, { peer, ticket, at, approvals }: Placement, contractJson: string): void {
    // The executor came back while the disk was busy, and the execution went on from there.
    if (execution.row.state !== ExecutionState.OFFERED || execution.row.ticket_id !== ticket.ticketId) return;
    if (this.peers.get(peer.id) !== peer) {
      this.rests.addOnce(peer);
      this.requeue(execution, `executor ${peer.name} left before it had the offer`).catch(
        this.#options.onError,
      );
      return;
    }
    const offer = {
      executionId: execution.id,
      ticketJson: ticket.json,
      contractJson: Buffer.from(contractJson),
      approvalsJson: [...approvals],
    };
    this.offers.add({ executionId: execution.id, peer, ticketId: ticket.ticketId, at });
    peer.send({ $case: 'offer', value: offer });
    if (execution.cancelGraceMs === undefined) return;
    const gracePeriod = toDuration(execution.cancelGraceMs);
    peer.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
  }

  #offer(execution: LiveExecution, peer: Peer): void {
    const { executions, clock, onError } = this.#options;
    const placement = this.#place(execution.row, peer);
    const { change, happened } = placement;
    Promise.all([
      executions.contract(execution.id),
      execution.advance(clock.now(), { change, happened: [happened] }),
    ])
      .then(([contractJson]) => this.send(execution, placement, contractJson))
      .catch((error: unknown) => {
        // It is QUEUED again, and the next sweep puts it back in line: not at once, as a full disk would fail it at once.
        peer.assigned.delete(execution.id);
        onError(error);
      });
  }

  #place(row: ExecutionRow, peer: Peer): Placement {
    const { gateId, signer, clock, monotonicMs, offerDeadlineSec } = this.#options;
    const at = monotonicMs();
    const limits = this.#limitsOf(row);
    const approvals = parseStoredApprovals(row.approvals_json);
    const ticket = mintTicket(
      row,
      {
        gateId,
        audience: peer.name,
        approvalIds: approvalIds(approvals),
        limits,
        now: clock.now(),
        lifeMs: toOfferTimes(offerDeadlineSec).ticketLifeMs,
      },
      signer,
    );
    peer.assigned.add(row.execution_id);
    return {
      executionId: row.execution_id,
      peer,
      ticket,
      at,
      approvals,
      change: {
        state: ExecutionState.OFFERED,
        executor_id: peer.id,
        ticket_id: ticket.ticketId,
        limits_json: JSON.stringify(limits),
      },
      happened: { $case: 'placed', value: { executorId: peer.name, labels: { ...peer.labels } } },
    };
  }

  // A policy that is not held here any more can narrow nothing; an executor that holds it still does.
  #limitsOf({ policy_sha256: sha256 }: ExecutionRow): GrantedLimits {
    const { limits, policies } = this.#options;
    return narrowLimits<GrantedLimits>(limits, policies.bySha256(sha256)?.policy.limits ?? {});
  }

  /**
   * Puts an execution that was certainly not started back at the head of the queue, or ends it where that was asked for.
   * @param withdrawn the offer that nobody has answered and whose ticket is out, which is remembered in case that somebody does
   */
  async requeue(execution: LiveExecution, reason: string, withdrawn?: WithdrawnOffer): Promise<void> {
    this.offers.remove(execution.id);
    if (execution.cancelGraceMs !== undefined) {
      const { ending } = this.#options;
      return ending.unstarted(
        execution,
        ExecutionState.CANCELLED,
        'cancelled before it was started',
        withdrawn,
      );
    }
    const change = { state: ExecutionState.QUEUED, executor_id: null, ticket_id: null };
    const queued = { $case: 'queued', value: { position: 0, reason } } as const;
    await execution.advance(this.#options.clock.now(), { change, happened: [queued], withdrawn });
    this.enqueue(execution, true);
  }
}

/** What an execution needs of its executor. */
export function requirementOf(
  row: Pick<NewExecution, 'selector_json' | 'policy_sha256' | 'policy_profile'>,
): Requirement {
  return {
    selector: JSON.parse(row.selector_json) as Record<string, string>,
    policySha256: row.policy_sha256,
    policyProfile: row.policy_profile,
  };
}

/** The time by which it must have been placed, as stored. */
export function queueDeadline(now: Date, waitMs: number): string {
  return toTimestamp(new Date(now.getTime() + waitMs));
}
