import { ExecutionState } from '@csc-fleet/common/messages';

const terminal: ReadonlySet<number> = new Set([
  ExecutionState.SUCCEEDED,
  ExecutionState.FAILED,
  ExecutionState.BLOCKED,
  ExecutionState.EXPIRED,
  ExecutionState.CANCELLED,
  ExecutionState.LOST,
]);

/** True where nothing more will happen, but that the receipt of a LOST execution may still arrive. */
export function isTerminal(state: number): boolean {
  return terminal.has(state);
}
