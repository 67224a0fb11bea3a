import { setTimeout as delay } from 'node:timers/promises';
import { type CscError, isCscError } from '@csc-fleet/common/errors';

/** True where the store takes no writes now, and will again: nothing has changed, and the same may be asked for again. */
export function isStoreBusy(error: unknown): error is CscError & { readonly retryAfterMs: number } {
  return isCscError(error, 'STORE_UNAVAILABLE') && error.retryAfterMs !== undefined;
}

/**
 * Does `work`, again and again for as long as the store takes no writes: for what has happened on a host, which nobody
 * can take back. Rejects with any other error, and with STORE_UNAVAILABLE once `gone` has fired.
 * @param onWait is called before each time that it waits
 */
export async function patiently<T>(
  work: () => Promise<T>,
  gone?: AbortSignal,
  onWait: () => void = () => undefined,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isStoreBusy(error) || gone?.aborted === true) throw error;
      onWait();
      await pause(error.retryAfterMs, gone);
    }
  }
}

async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) }).catch(
    () => undefined,
  );
}
