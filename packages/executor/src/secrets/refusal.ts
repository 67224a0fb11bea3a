import { CscError } from '@csc-fleet/common/errors';

/** A secret cannot be had on this host; `cause` is logged and must hold no value and no token. */
export function unavailable(message: string, cause?: unknown): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', message, cause === undefined ? {} : { cause });
}

/** Throws CANCELLED where nobody waits for the secret any more. */
export function checkNotCancelled(name: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new CscError('CANCELLED', `the secret ${name} is no longer wanted`);
}
