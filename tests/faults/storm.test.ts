import { expect, it } from 'vitest';
import { runStorm } from '../chaos/storm/storm.ts';

// The most telling faults for a few seconds; `make chaos` has all of them, as long as one likes.
it('a short storm loses nothing', async () => {
  const told: string[] = [];
  const report = await runStorm({
    // It draws one of each kind: each process that is killed takes a second of a processor to come back, and as many more on one
    // that has other work.
    seed: 'short-248',
    seconds: 8,
    only: [
      'gate: kill -9',
      'executor: kill -9',
      'job: kill -9',
      'executor: disk full',
      'link: reset',
      'gate: drain',
    ],
    width: 2,
    slots: 4,
    hasLauncher: true,
    diskBytes: 128 * 1024 * 1024,
    gapSec: 1,
    restSec: 30,
    tell: (line) => told.push(line),
  });
  expect(report.wrong, told.join('\n')).toEqual([]);
  expect(report.struck.length).toBeGreaterThan(3);
  expect(report.starts).toBeGreaterThan(3);
});
