import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

const usualMs = 5_000;
// Of the time between two looks: a gate with a thousand executors and nothing to do works for a thirtieth.
const idleShare = 0.1;

/**
 * Has V8 give memory back while the process has little to do. V8 does that by itself, a bit at a time and beside other work, but
 * only where it takes a process to be idle: by what it allocates against how fast it was collected, and so, on a machine that is
 * busy, never where a thousand executors say every ten seconds that they are there. How often it looks is its own matter.
 * @param everyMs how often to look whether there is little to do
 */
export function tendHeap(everyMs = usualMs): Disposable {
  let before = performance.eventLoopUtilization();
  let isIdle = false;
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const wasIdle = isIdle;
    isIdle = performance.eventLoopUtilization(now, before).utilization < idleShare;
    before = now;
    // Of what V8 does under this flag, whether it gives memory back is all that a process sees that has little to do.
    if (isIdle !== wasIdle) setFlagsFromString(isIdle ? '--optimize-for-size' : '--no-optimize-for-size');
  }, everyMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
