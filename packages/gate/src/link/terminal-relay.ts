import { CscError } from '@csc-fleet/common/errors';
import {
  ExecutionState,
  type SendInputRequest,
  type SendInputResponse,
  type TerminalTaken,
} from '@csc-fleet/common/messages';
import type { Executions, Principal } from '../execution/executions.ts';
import type { Scheduler } from '../schedule/scheduler.ts';

export interface RelayPorts {
  readonly executions: Pick<Executions, 'visible'>;
  readonly scheduler: Pick<Scheduler, 'peers'>;
}

// A host that holds input back does so for its rate, and says how far it has come within that.
const answerWithinMs = 20_000;

/** What waits for its executor's answer. */
interface Asking {
  /** The whole SPIFFE id of who is to answer. */
  readonly executor: string;
  resolve(taken: TerminalTaken): void;
}

/**
 * Passes on what is typed, and gives back how far the host has come. It keeps nothing: one call an execution is under way at
 * a time, and whoever has no answer sends the same once more, which is not typed again. Nothing of it is verified here, as
 * the host believes nothing else than its signatures.
 */
export class TerminalRelay {
  readonly #ports: RelayPorts;
  readonly #asking = new Map<string, Asking>();

  constructor(ports: RelayPorts) {
    this.#ports = ports;
  }

  /** Throws EXECUTION_UNKNOWN, TERMINAL_UNAVAILABLE, RATE_LIMITED where another call of it is under way. */
  async send(
    principal: Principal,
    { executionId, frames }: SendInputRequest,
    gone?: AbortSignal,
  ): Promise<SendInputResponse> {
    const { row, id } = await this.#ports.executions.visible(principal, executionId);
    if (row.terminal_json === null) throw unavailable('it was submitted without a terminal');
    if (row.ended_at !== null) return { sequence: 0, ended: 'the execution has ended' };
    const peer = row.executor_id === null ? undefined : this.#ports.scheduler.peers.get(row.executor_id);
    if (row.state !== ExecutionState.RUNNING || peer === undefined)
      throw unavailable('its executor is not there, or has not begun it: try again', 1000);
    if (this.#asking.has(id))
      throw new CscError('RATE_LIMITED', 'input of this execution is on its way already', {
        retryAfterMs: 50,
      });
    const answer = Promise.withResolvers<TerminalTaken>();
    const patience = AbortSignal.any([
      AbortSignal.timeout(answerWithinMs),
      ...(gone === undefined ? [] : [gone]),
    ]);
    const giveUp = (): void => answer.reject(unavailable('its executor has not answered: try again', 1000));
    patience.addEventListener('abort', giveUp, { once: true });
    this.#asking.set(id, { executor: peer.id, resolve: answer.resolve });
    try {
      peer.send({ $case: 'terminalInput', value: { executionId: id, frames } });
      const { sequence, ended } = await answer.promise;
      return { sequence, ended };
    } finally {
      patience.removeEventListener('abort', giveUp);
      this.#asking.delete(id);
    }
  }

  /** What an executor answers; nothing where nobody has asked it. */
  taken(executor: string, taken: TerminalTaken): void {
    const asking = this.#asking.get(taken.executionId);
    if (asking?.executor === executor) asking.resolve(taken);
  }
}

function unavailable(why: string, retryAfterMs?: number): CscError {
  const message = `nothing can be typed: ${why}`;
  return new CscError('TERMINAL_UNAVAILABLE', message, retryAfterMs === undefined ? {} : { retryAfterMs });
}
