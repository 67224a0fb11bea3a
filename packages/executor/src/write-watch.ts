import { setTimeout as sleep } from 'node:timers/promises';
import { measureDeleted } from './receipt/deleted-files.ts';
import { type FileTime, measureWritten, type Written } from './receipt/files-written.ts';

export interface WriteWatch {
  /** Stops looking, and looks once more. */
  finish(): Promise<Written>;
}

export interface WriteLimits {
  readonly roots: readonly string[];
  readonly since: FileTime;
  readonly maxBytes: number;
  /** The processes that may have written it, as far as they are known: what they have deleted and keep open counts. */
  readonly processes: () => readonly number[];
  /** Called at most once, as soon as more than that is seen. */
  readonly onExceeded: () => void;
}

// The first look comes after what most commands take; then each waits for twenty times as long as the one before took.
const firstPauseMs = 500;
const restFactor = 20;

/**
 * Watches how much is written below write scopes, which the kernel does not limit: a file system quota is the host's
 * owner's to set, and RLIMIT_FSIZE bounds one file only. Between two looks a command can write more than the limit.
 */
export function watchWrites(limits: WriteLimits): WriteWatch {
  const { roots, since, maxBytes, processes, onExceeded } = limits;
  const stopping = new AbortController();
  let exceeded = false;
  const look = async (): Promise<Written> => {
    const written = await measureWritten(roots, since);
    const deleted = await measureDeleted(processes(), roots);
    const isTooMuch = written.bytes + deleted.bytes > maxBytes || !written.complete;
    if (isTooMuch && maxBytes !== Number.POSITIVE_INFINITY && !exceeded) {
      exceeded = true;
      onExceeded();
    }
    return written;
  };
  const looking = (async () => {
    let pause = firstPauseMs;
    while (!exceeded && (await rest(pause, stopping.signal))) {
      const begun = performance.now();
      await look();
      pause = Math.max(firstPauseMs, restFactor * (performance.now() - begun));
    }
  })();
  return {
    async finish() {
      stopping.abort();
      await looking;
      return await look();
    },
  };
}

// False where it was cut short.
async function rest(ms: number, signal: AbortSignal): Promise<boolean> {
  return await sleep(ms, true, { signal, ref: false }).catch(() => false);
}
