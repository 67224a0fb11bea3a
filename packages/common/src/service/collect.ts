/** How much may pass between two collections: less, and they are seen in the time it takes; more, and in the memory. */
const usualBytes = 4 * 1024 * 1024;

/**
 * Returns what is told of each piece of output that passes, in bytes, and has V8 look through its young space every now and
 * then. What output comes in lies outside of V8's heap, and is given back with objects of a few hundred bytes: by itself V8
 * looks for those when they fill its young space, or have 32 MiB behind them, and a reader of much output has 50 MiB of it in
 * memory that nobody needs any more. One such collection takes a fraction of a millisecond.
 */
export function createCollector(everyBytes = usualBytes): (bytes: number) => void {
  let since = 0;
  let collect: (() => void) | undefined;
  return (bytes) => {
    since += bytes;
    if (since < everyBytes) return;
    since = 0;
    collect ??= findCollect();
    collect();
  };
}

// V8 gives its collector to contexts that are made under the flag, which is taken back: kept code is for the flags that were.
// Loaded here, as few commands show so much.
function findCollect(): () => void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  const { runInNewContext } = process.getBuiltinModule('node:vm');
  setFlagsFromString('--expose-gc');
  const gc: NonNullable<typeof globalThis.gc> = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  return () => void gc({ type: 'minor', execution: 'sync' });
}
