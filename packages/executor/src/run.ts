import type { LaunchedProcess } from './launch/index.ts';

/** Why a run is ended from outside of its commands. */
export type StopReason = 'cancelled' | 'output_limit';

/** One execution that is under way, as those see it that may have to end it. */
export class Run {
  readonly executionId: string;
  /**
   * `refused`: its ticket will certainly not be redeemed. `finished`: its receipt is journalled. Neither takes a slot,
   * although the one may still have a sandbox to take down and the other a receipt to deliver.
   */
  state: 'open' | 'refused' | 'finished' = 'open';
  #stopped: { readonly reason: StopReason; readonly graceMs: number } | undefined;
  #process: LaunchedProcess | undefined;

  constructor(executionId: string) {
    this.executionId = executionId;
  }

  /** Set once the run is to end; no further command starts then. */
  get stopReason(): StopReason | undefined {
    return this.#stopped?.reason;
  }

  /** The first reason stays; a further call can only bring the end nearer. */
  stop(reason: StopReason, graceMs: number): void {
    this.#stopped ??= { reason, graceMs };
    this.#process?.terminate(graceMs);
  }

  /** The process that a stop ends from now on. */
  attach(process: LaunchedProcess): void {
    this.#process = process;
    if (this.#stopped !== undefined) process.terminate(this.#stopped.graceMs);
  }
}
