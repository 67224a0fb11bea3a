import { performance } from 'node:perf_hooks';

/** Spans of time in which what is ours was measured: begin and end in microseconds of CLOCK_MONOTONIC, as profiles have it. */
export const spans: { begin: number; end: number }[] = [];

/** Measures once; resolves to one sample or several, in whatever unit the row has. */
export type Side = () => Promise<number | readonly number[]>;

/**
 * Lets the sides take turns, A B A B, so that what the machine does meanwhile meets them all. One turn before the first
 * round is thrown away. A side whose name begins with `bare` is a baseline: profiles leave it out.
 * @returns the samples of each side, in the order in which they were taken
 */
export async function interleave<Name extends string>(
  rounds: number,
  sides: Readonly<Record<Name, Side>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(sides) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>;
  for (let round = -1; round < rounds; round++)
    for (const name of names) {
      const take = round < 0 || name.startsWith('bare') ? sides[name] : () => watched(sides[name]);
      const taken = await take();
      if (round >= 0) samples[name].push(...(typeof taken === 'number' ? [taken] : taken));
    }
  return samples;
}

/** Does `work` and notes when: it is what a profile of this row shows. */
export async function watched<T>(work: () => Promise<T>): Promise<T> {
  const begin = monotonicMicros();
  try {
    return await work();
  } finally {
    spans.push({ begin, end: monotonicMicros() });
  }
}

function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** The time that each of `count` calls takes, one after the other, in milliseconds. */
export async function timings(count: number, call: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push(await timing(call));
  return times;
}

/** In milliseconds. */
export async function timing(call: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await call();
  return performance.now() - begin;
}

/**
 * So many of what a row does: all of them, or the share that CSC_BENCH_SHARE says (0.01: every hundredth), at least one.
 * A run that is to show only that every row works takes a small share.
 */
export function scaled(full: number): number {
  return Math.max(1, Math.round(full * Number(process.env['CSC_BENCH_SHARE'] ?? 1)));
}
