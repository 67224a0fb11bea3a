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

// In percent of what was in use after the last collection of all of it.
const roomyPercent = 100;
const growthFlag = '--heap-growing-percent=';
let holders = 0;

/**
 * Lets the heap double before V8 collects all of it, until what it gives is disposed of. A service is told to collect at
 * half, for its memory over days (packages/cli/bin/start.js). V8 counts what output comes in as heap: what passes between two
 * collections of the young space, which find it, had all of the heap looked through every 12 to 25 MiB, which found nothing.
 */
export function letHeapGrow(): Disposable {
  holders += 1;
  if (holders === 1) setGrowth(`${growthFlag}${roomyPercent}`);
  let isHeld = true;
  return {
    [Symbol.dispose]: () => {
      if (!isHeld) return;
      isHeld = false;
      holders -= 1;
      if (holders === 0) setGrowth(growthAtStart());
    },
  };
}

// 0: as V8 likes.
function growthAtStart(): string {
  return process.execArgv.find((flag) => flag.startsWith(growthFlag)) ?? `${growthFlag}0`;
}

function setGrowth(flag: string): void {
  process.getBuiltinModule('node:v8').setFlagsFromString(flag);
}
