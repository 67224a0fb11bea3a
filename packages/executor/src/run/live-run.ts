import { CscError } from '@csc-fleet/common/errors';
import type { RevocationSubject } from '@csc-fleet/common/owners';
import type { Owner } from '@csc-fleet/common/service';
import type { TraceContext } from '@csc-fleet/common/tracing';
import type { LaunchedProcess } from '@csc-fleet/sandbox/launch';
import type { TerminalInput } from '../terminal/index.ts';

/**
 * Why a run is ended from outside of its commands. `stopped`: whoever looks after its host stops the executor. `fault`: the
 * executor itself failed at it. `revoked`: by the owners.
 */
export type StopReason = 'cancelled' | 'stopped' | 'output_limit' | 'fault' | 'revoked';

/** One execution that is under way, as those see it that may have to end it. */
export class LiveRun {
  readonly executionId: string;
  /**
   * `refusing`: its ticket will certainly not be redeemed, and its refusal may be on its way into the journal. `refused`:
   * it is there, or there is none to keep. `finished`: its receipt is journalled. None of them takes a slot, although
   * there may still be a sandbox to take down or a receipt to deliver.
   */
  state: 'open' | 'refusing' | 'refused' | 'finished' = 'open';
  /** What the owners may revoke of it. Absent before its ticket is known to be genuine. */
  subject: RevocationSubject | undefined;
  /** Where it belongs in a trace, as far as its gate says so; undefined: in none. */
  trace: TraceContext | undefined;
  /** The reason for which it was refused. */
  refusedFor: string | undefined;
  /**
   * It has had this host take secrets and a user, or build a sandbox, and nothing says so: neither is its ticket redeemed nor its
   * refusal signed.
   */
  isInVain = false;
  #stopped: { readonly reason: StopReason; readonly graceMs: number } | undefined;
  #process: LaunchedProcess | undefined;
  #isWithdrawn = false;
  /** What is typed into its terminal. Absent: it has none, or not yet. */
  input: TerminalInput | undefined;
  /**
   * `awaited`: the gate is yet to write its offer down, and until then it is neither redeemed nor answered. `void`: it never
   * did, and there was no offer.
   */
  confirmation: 'given' | 'awaited' | 'void';
  readonly #confirmed = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #over = Promise.withResolvers<void>();

  constructor(executionId: string, trace?: TraceContext, confirmation: 'given' | 'awaited' = 'given') {
    this.executionId = executionId;
    this.trace = trace;
    this.confirmation = confirmation;
    if (confirmation === 'given') this.#confirmed.resolve();
  }

  /** What becomes of an offer that is awaited; without effect on any other. */
  confirm(confirmation: 'given' | 'void'): void {
    if (this.confirmation !== 'awaited') return;
    this.confirmation = confirmation;
    this.#confirmed.resolve();
  }

  /** Resolves once it is no longer awaited. */
  get confirmed(): Promise<void> {
    return this.#confirmed.promise;
  }

  /** Set once the run is to end; no further command starts then. */
  get stopReason(): StopReason | undefined {
    return this.#stopped?.reason;
  }

  /** The gate no longer waits for the answer: without effect once the ticket is redeemed. */
  withdraw(): void {
    this.#isWithdrawn = true;
  }

  /** Throws TICKET_REVOKED where the offer was withdrawn. */
  checkWanted(): void {
    if (!this.#isWithdrawn) return;
    throw new CscError('TICKET_REVOKED', 'the gate withdrew the offer before it was started');
  }

  /** Aborted once the run is to end. */
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  /** The first reason stays; a further call can only bring the end nearer. */
  stop(reason: StopReason, graceMs: number): void {
    this.#stopped ??= { reason, graceMs };
    this.#stopping.abort();
    this.#process?.terminate(graceMs);
  }

  /** What exceptions that nobody caught are laid to while the executor works for this run. */
  get owner(): Owner {
    const end = (): void => this.stop('fault', 0);
    return { name: `execution ${this.executionId}`, end, over: this.#over.promise };
  }

  /** Nothing is done for it any more, except that its receipt may still have to be delivered. */
  settle(): void {
    this.#over.resolve();
  }

  /** The process that a stop ends from now on. */
  attach(process: LaunchedProcess): void {
    this.#process = process;
    if (this.#stopped !== undefined) process.terminate(this.#stopped.graceMs);
  }
}
