import { CscError } from '@csc-fleet/common/errors';
import type { ConnectResponse } from '@csc-fleet/common/messages';
import type { Identity } from '@csc-fleet/common/rpc';
import type { LiveExecution } from '../execution/execution.ts';
import type { GateContext } from '../service/context.ts';
import type { ExecutorKeys } from './executor-keys.ts';
import type { Refusals } from './refusals.ts';

/** One executor's connection, as those see it who handle what comes over it. */
export interface Connection {
  readonly gate: GateContext;
  readonly keys: ExecutorKeys;
  readonly executor: Identity;
  readonly send: (message: ConnectResponse) => void;
  /** What of it did not count. */
  readonly refusals: Refusals;
  /** Fires when the connection has ended. */
  readonly gone: AbortSignal;
}

/** An open execution of this executor; undefined for any other, whoever it belongs to. */
export function findOwn({ gate, executor }: Connection, executionId: string): LiveExecution | undefined {
  const execution = gate.executions.openById(executionId);
  return execution?.row.executor_id === executor.uri ? execution : undefined;
}

/** For the log: which receipt of which executor was not taken; the cause says why. */
export function notCounted({ executor }: Connection, executionId: string, cause: unknown): CscError {
  const message = `the receipt of ${executionId} from executor ${executor.uri} does not count`;
  return new CscError('RECEIPT_INVALID', message, { cause });
}
