import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, guarded } from '@csc-fleet/common/errors';
import { ExecutionState, type Offer, toDuration } from '@csc-fleet/common/messages';
import { fromStoredTrace, type Tracing, traced } from '@csc-fleet/common/tracing';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import { isTerminal } from '../execution/row.ts';
import { wantsBinding } from '../execution/submission-of.ts';
import type { Owners } from '../owners/index.ts';
import type { NewExecution, WithdrawnOffer } from '../store/tables.ts';
import { BindingsWanted } from './bindings-wanted.ts';
import { Breakers } from './breakers.ts';
import type { Mint, Placement } from './mint.ts';
import { Offers } from './offers.ts';
import type { Peer, Seat } from './peer.ts';
import { Peers, type PlacingOwners } from './peers.ts';
import { Queue } from './queue.ts';
import { type Requirement, requirementOf } from './requirement.ts';
import { Rests } from './rests.ts';
import { Tally } from './tally.ts';

export interface SchedulerPorts {
  readonly executions: Pick<Executions, 'moving' | 'openById' | 'contract'>;
  readonly finisher: Pick<Finisher, 'unstarted'>;
  readonly mint: Mint;
  readonly owners: PlacingOwners & Pick<Owners, 'limitsOf'>;
  readonly clock: Clock;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  readonly limits: {
    /** Executions that wait for an executor. */
    readonly maxQueued: number;
  };
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** Told of what went wrong behind a caller's back. */
  readonly onError: (error: unknown) => void;
}

/**
 * Where an execution that was not started waits for its next turn; `aside`: it has none for a while; `submitter`: it has none
 * before its submitter is back.
 */
export type Turn = 'first' | 'last' | 'aside' | 'submitter';

/** What executions wait for that need the same. */
export type Said = Map<Requirement, string>;

// Of the queue, what one principal may fill with executions that no connected executor could run.
const unmatchedShare = 0.1;
// What the queue takes beyond its limit, of those who have next to nothing in it: who fills it does not shut others out.
const reserve = 0.1;
const nextToNothing = 0.01;
const queueRetryMs = 2_000;
const unplaced = { executor_id: null, ticket_id: null, ticket_epoch: null, started_at: null };
// Of an execution that hosts refuse which take others: the first time, and at most.
const firstAsideMs = 5_000;
const longestAsideMs = 60_000;

function toOffer(
  { executionId, ticketJson, approvals, submissionJson, submissionToken }: Placement,
  row: Pick<NewExecution, 'trace_context'>,
  contractJson: string,
): Offer {
  return {
    executionId,
    ticketJson,
    contractJson: Buffer.from(contractJson),
    approvalsJson: [...approvals],
    submissionJson,
    submissionToken,
    // A hint, and no part of the ticket: a host decides nothing by it.
    ...fromStoredTrace(row.trace_context),
  };
}

/** Brings executions to executors: a queue, the executors connected, and the offer that joins the two. */
export class Scheduler {
  readonly peers: Peers;
  readonly offers = new Offers();
  readonly rests: Rests;
  readonly breakers: Breakers;
  readonly bindings = new BindingsWanted();
  readonly #queue: Queue;
  /** Of each principal, those that are recorded now and will wait then. */
  readonly #coming = new Tally();
  /** Of each principal, those that have a seat, from before it is recorded to their end. */
  readonly #placed = new Tally();
  /** Those that are set aside, and until when by the monotonic clock. */
  readonly #aside = new Map<string, number>();
  readonly #ports: SchedulerPorts;
  #placing = false;

  constructor(ports: SchedulerPorts) {
    this.#ports = ports;
    this.#queue = new Queue((principal) => ports.owners.limitsOf(principal).weight);
    const onRested = guarded(() => this.place(), ports.onError);
    this.breakers = new Breakers(ports.monotonicMs, onRested);
    this.peers = new Peers(ports.owners, this.breakers, ports.monotonicMs);
    this.rests = new Rests(this.peers, ports.monotonicMs, onRested);
  }

  /** How many of each principal's wait for their turn. */
  waiting(): Iterable<readonly [principal: string, count: number]> {
    return this.#queue.sizes();
  }

  /** What is told of an execution that joins the queue now. */
  queuedEvent(row: Parameters<typeof requirementOf>[0], reason = ''): Happening {
    const said = [reason, this.peers.whyNone(requirementOf(row)) ?? ''].filter((it) => it !== '').join('; ');
    return { $case: 'queued', value: { position: this.#queue.before(row.principal), reason: said } };
  }

  /**
   * Throws QUEUE_FULL or NO_MATCHING_EXECUTOR where an execution should not even be recorded. `comes` asks once more.
   * @param queueWaitMs how long it may wait for an executor that could run it to connect
   */
  checkRoom(requirement: Requirement, queueWaitMs: number): void {
    this.#checkQueue(requirement.principal);
    const whyNone = this.peers.whyNone(requirement);
    if (whyNone === undefined) return;
    const retry = { retryAfterMs: 5_000 };
    if (queueWaitMs <= 0) throw new CscError('NO_MATCHING_EXECUTOR', whyNone, retry);
    // Nothing but time gets them out of the queue again, in which there must be room for others.
    const waiting = this.#queue.sizeOf(requirement.principal);
    if (waiting < Math.max(1, this.#ports.limits.maxQueued * unmatchedShare)) return;
    const message = `${waiting} of your executions wait already, and ${whyNone}`;
    throw new CscError('QUEUE_FULL', message, retry);
  }

  #checkQueue(principal: string): void {
    const { maxQueued } = this.#ports.limits;
    const all = this.#queue.size + this.#coming.size;
    const own = this.#queue.sizeOf(principal) + this.#coming.sizeOf(principal);
    const { queued } = this.#ports.owners.limitsOf(principal);
    const retry = { retryAfterMs: queueRetryMs };
    if (own >= queued) {
      const message = `${own} of your executions are waiting already, as many as the owners let wait (limits.queued in the bindings): try again later`;
      throw new CscError('QUEUE_FULL', message, retry);
    }
    if (all < maxQueued) return;
    if (own < maxQueued * nextToNothing && all < Math.floor(maxQueued * (1 + reserve))) return;
    const message = `${all} executions are waiting already: try again later, or add executors`;
    throw new CscError('QUEUE_FULL', message, retry);
  }

  /**
   * An execution is about to be recorded that will wait: it counts from now on, so that no others that are recorded
   * meanwhile have its place. Call what this gives once it is enqueued, or will not be. Throws QUEUE_FULL.
   */
  comes(principal: string, executionId: string): () => void {
    this.#checkQueue(principal);
    this.#coming.add(principal, executionId);
    return () => this.#coming.remove(executionId);
  }

  /** Counts what has a seat, or has none any more, as its row says. To be called after its steps. */
  count({ id, row }: LiveExecution): void {
    if (isTerminal(row.state)) this.#placed.remove(id);
    else if (row.state === ExecutionState.OFFERED || row.state === ExecutionState.RUNNING)
      this.#placed.add(row.principal, id);
  }

  /** Lets an execution of a gate that has ended go on from where it is. All that runs comes before what waits. */
  restore(execution: LiveExecution): void {
    this.count(execution);
    if (execution.row.state === ExecutionState.QUEUED) this.enqueue(execution);
    else this.#queue.charge(execution.row.principal);
  }

  #mayHaveMore(principal: string): boolean {
    return this.#placed.sizeOf(principal) < this.#ports.owners.limitsOf(principal).running;
  }

  /**
   * What an execution waits for in the queue, for people.
   * @param said what was found for others, which may be asked for by the thousand
   */
  whyWaits(executionId: string, said: Said): string {
    const requirement = this.#queue.requirementOf(executionId);
    if (requirement === undefined) return 'its turn, which is being written down';
    if (this.awaitsSubmitter(executionId))
      return 'its submitter, who is to name the host that it is placed on: csc get ID --follow';
    if (this.#aside.has(executionId))
      return 'another try, in a while: hosts that start others of its submitter had to refuse it';
    const why = said.get(requirement) ?? this.#whyWaits(requirement);
    said.set(requirement, why);
    return why;
  }

  #whyWaits(requirement: Requirement): string {
    const whyNone = this.peers.whyNone(requirement);
    if (whyNone !== undefined) return whyNone;
    const whyPassedOver = this.peers.whyPassedOver(requirement);
    if (whyPassedOver !== undefined) return `${whyPassedOver}; it is tried again`;
    const placed = this.#placed.sizeOf(requirement.principal);
    if (!this.#mayHaveMore(requirement.principal))
      return `one of its submitter's ${placed} that run to end: the owners let no more run at a time (limits.running in the bindings)`;
    const { length } = this.peers.matching(requirement);
    return length === 1
      ? 'the executor that could run it is busy'
      : `the ${length} executors that could run it are busy`;
  }

  /** A host is stopping: it gets nothing more over this connection, and what waits for it to be named gets another. */
  leave(peer: Peer): void {
    peer.draining = true;
    for (const { executionId } of this.bindings.gone((it) => it !== peer)) this.withdraw(executionId);
    this.restoreLine();
  }

  /** Lets an execution wait for its turn, which may come at once; does nothing where it has had its turn meanwhile. */
  enqueue(execution: LiveExecution): void {
    if (execution.row.state !== ExecutionState.QUEUED) return;
    this.#queue.add(execution.id, requirementOf(execution.row));
    this.place();
  }

  /** Puts those back in line that are QUEUED and not in it, as the store did not take what was to become of them. */
  restoreLine(): void {
    this.#bringBack();
    this.peers.recount();
    for (const execution of this.#ports.executions.moving()) {
      const { state } = execution.row;
      if (state !== ExecutionState.QUEUED || execution.changing || this.#hasPlace(execution.id)) continue;
      this.#queue.putBack(execution.id, requirementOf(execution.row));
    }
    this.place();
  }

  #bringBack(): void {
    const now = this.#ports.monotonicMs();
    for (const [executionId, until] of this.#aside) {
      const requirement = this.#queue.requirementOf(executionId);
      if (requirement !== undefined && until > now) continue;
      this.#aside.delete(executionId);
      if (requirement === undefined) continue;
      this.#queue.remove(executionId);
      this.#queue.add(executionId, requirement);
    }
  }

  #hasPlace(executionId: string): boolean {
    return this.#queue.has(executionId) || this.bindings.has(executionId);
  }

  /** Takes an execution out of the queue, or from the seat that it is yet to be bound to; false where it was in neither. */
  withdraw(executionId: string): boolean {
    const seat = this.bindings.take(executionId);
    if (seat !== undefined) this.giveBack(seat);
    this.#aside.delete(executionId);
    return seat !== undefined || this.#queue.remove(executionId);
  }

  /** True where it has no turn before its submitter is there to name its host. */
  awaitsSubmitter(executionId: string): boolean {
    return this.#aside.get(executionId) === Number.POSITIVE_INFINITY;
  }

  /** Its submitter is there, and can name a host: it has turns again. Does nothing where that was not waited for. */
  submitterCame(executionId: string): void {
    if (!this.awaitsSubmitter(executionId)) return;
    this.#aside.set(executionId, this.#ports.monotonicMs());
    this.#bringBack();
    this.place();
  }

  /** The host that waits for the submission of this execution to name it. */
  awaitedHost(executionId: string): Peer | undefined {
    const peer = this.bindings.peerOf(executionId);
    return peer !== undefined && this.peers.get(peer.id) === peer ? peer : undefined;
  }

  /** Offers an execution to the host that its submission now names; resolves once that is on disk. */
  async bind(execution: LiveExecution, submissionJson: string): Promise<void> {
    const seat = this.bindings.take(execution.id);
    if (seat !== undefined) await this.#offerAt(execution, seat.peer, { submission_json: submissionJson });
  }

  /** Lets those go whose host has left: they get another, or the same when it is back. */
  dropGone(): void {
    for (const { executionId } of this.bindings.gone((peer) => this.peers.get(peer.id) === peer)) {
      this.bindings.take(executionId);
      this.#placed.remove(executionId);
    }
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
    // Most of what calls for it comes while all are busy.
    if (!this.peers.hasFree()) return false;
    for (const { executionId, requirement } of this.#queue.heads()) {
      const execution = this.#ports.executions.openById(executionId);
      if (execution?.row.state !== ExecutionState.QUEUED) return this.#queue.remove(executionId);
      const peer = this.#choose(requirement);
      if (peer === undefined) continue;
      this.#queue.take(executionId);
      this.breakers.tried(peer.id, requirement.principal);
      this.#placeAt(execution, peer);
      return true;
    }
    return false;
  }

  #choose(requirement: Requirement): Peer | undefined {
    return this.#mayHaveMore(requirement.principal) ? this.peers.choose(requirement) : undefined;
  }

  #seatAt(peer: Peer, { id, row }: Pick<LiveExecution, 'id' | 'row'>): Seat {
    return this.#take(peer, row.principal, id);
  }

  #take(peer: Peer, principal: string, executionId: string): Seat {
    peer.assigned.add(executionId);
    this.#placed.add(principal, executionId);
    return { executionId, peer };
  }

  /**
   * Takes a free executor for an execution that is about to be recorded, so that one write records both; undefined
   * where all are busy or others wait for one like it. `offer` or `giveBack` must follow.
   */
  takeSeat(row: NewExecution): Seat | undefined {
    const requirement = requirementOf(row);
    if (wantsBinding(row) || this.#queue.hasLine(requirement)) return undefined;
    const peer = this.#choose(requirement);
    if (peer === undefined) return undefined;
    this.breakers.tried(peer.id, requirement.principal);
    this.#queue.charge(row.principal);
    return this.#take(peer, row.principal, row.execution_id);
  }

  giveBack({ peer, executionId }: Seat): void {
    this.#leave(peer, executionId);
    this.place();
  }

  #leave(peer: Peer, executionId: string): void {
    peer.confirm(executionId, 'void');
    peer.assigned.delete(executionId);
    this.#placed.remove(executionId);
  }

  /**
   * Sends the offer of a placement that is being written down, where its executor waits for that: it builds the sandbox
   * meanwhile. `offer`, `giveBack` or the end of the connection must follow; until then nobody has been offered anything.
   */
  offerAhead(placement: Placement, row: Pick<NewExecution, 'trace_context'>, contractJson: string): void {
    const { peer } = placement;
    if (peer.confirms && this.peers.get(peer.id) === peer)
      peer.offerAhead(toOffer(placement, row, contractJson));
  }

  /** Sends the offer of a placement that is on disk, or confirms it. A gate that comes back must not make another one. */
  offer(execution: LiveExecution, placement: Placement, contractJson: string): void {
    const { peer, ticketId, at } = placement;
    // The executor came back while the disk was busy, and the execution went on from there.
    if (execution.row.state !== ExecutionState.OFFERED || execution.row.ticket_id !== ticketId) {
      peer.confirm(execution.id, 'void');
      return;
    }
    if (this.peers.get(peer.id) !== peer) {
      this.rests.addOnce(peer);
      this.requeue(execution, `executor ${peer.name} left before it had the offer`).catch(
        this.#ports.onError,
      );
      return;
    }
    this.offers.add({ executionId: execution.id, peer, ticketId, at });
    if (!peer.confirm(execution.id, 'written'))
      peer.send({ $case: 'offer', value: toOffer(placement, execution.row, contractJson) });
    if (execution.cancelGraceMs === undefined) return;
    const gracePeriod = toDuration(execution.cancelGraceMs);
    peer.send({ $case: 'cancel', value: { executionId: execution.id, gracePeriod } });
  }

  // place ▸ mint ▸ offer of what was recorded before; where its submitter has yet to name the host, that is asked first.
  #placeAt(execution: LiveExecution, peer: Peer): void {
    const { onError } = this.#ports;
    if (wantsBinding(execution.row)) this.#askForBinding(execution, peer).catch(onError);
    else this.#offerAt(execution, peer).catch(onError);
  }

  async #askForBinding(execution: LiveExecution, peer: Peer): Promise<void> {
    const { clock, monotonicMs } = this.#ports;
    this.bindings.add({ ...this.#seatAt(peer, execution), at: monotonicMs() });
    const wanted = { $case: 'bindingWanted', value: { executorId: peer.name } } as const;
    try {
      await execution.advance(clock.now(), { happened: [wanted] });
    } catch (error) {
      this.withdraw(execution.id);
      throw error;
    }
  }

  // The offer leaves once its placement is on disk.
  async #offerAt(
    execution: LiveExecution,
    peer: Peer,
    bound: { readonly submission_json?: string } = {},
  ): Promise<void> {
    const { executions, clock, mint, tracing } = this.#ports;
    try {
      const placement = mint({ ...execution.row, ...bound }, this.#seatAt(peer, execution));
      const { change, happened } = placement;
      const facts = { 'csc.execution.id': execution.id, 'csc.executor.id': peer.name };
      const parent = fromStoredTrace(execution.row.trace_context);
      const [contractJson] = await traced(tracing, 'csc.gate.place', { parent, facts }, () =>
        Promise.all([
          // Asked for first, and so there before the write is.
          executions.contract(execution.id).then((json) => {
            this.offerAhead(placement, execution.row, json);
            return json;
          }),
          execution.advance(clock.now(), { change: { ...change, ...bound }, happened: [happened] }),
        ]),
      );
      this.offer(execution, placement, contractJson);
    } catch (error) {
      // It is QUEUED again, and the next sweep puts it back in line: not at once, as a full disk would fail it at once.
      this.#leave(peer, execution.id);
      throw error;
    }
  }

  /**
   * Puts an execution that was certainly not started back in the queue, or ends it where that was asked for.
   * @param withdrawn the offer that nobody has answered and whose ticket is out, which is remembered in case that somebody does
   */
  async requeue(
    execution: LiveExecution,
    reason: string,
    {
      withdrawn,
      turn = 'first',
    }: { readonly withdrawn?: WithdrawnOffer | undefined; readonly turn?: Turn } = {},
  ): Promise<void> {
    this.offers.remove(execution.id);
    if (execution.cancelGraceMs !== undefined) {
      return this.#ports.finisher.unstarted(
        execution,
        ExecutionState.CANCELLED,
        'cancelled before it was started',
        withdrawn,
      );
    }
    const change = { ...unplaced, state: ExecutionState.QUEUED, error: '' };
    const queued = { $case: 'queued', value: { position: 0, reason } } as const;
    await execution.advance(this.#ports.clock.now(), { change, happened: [queued], withdrawn });
    if (execution.row.state !== ExecutionState.QUEUED) return;
    this.#placed.remove(execution.id);
    this.#wait(execution, turn);
    this.place();
  }

  #wait(execution: LiveExecution, turn: Turn): void {
    const { id } = execution;
    const requirement = requirementOf(execution.row);
    if (turn === 'first') this.#queue.putBack(id, requirement);
    else if (turn === 'last') this.#queue.add(id, requirement);
    else if (turn === 'submitter') {
      this.#aside.set(id, Number.POSITIVE_INFINITY);
      this.#queue.setAside(id, requirement);
    } else {
      const ms = Math.min(firstAsideMs * 2 ** execution.timesAside, longestAsideMs);
      execution.timesAside += 1;
      this.#aside.set(id, this.#ports.monotonicMs() + ms);
      this.#queue.setAside(id, requirement);
    }
  }
}
