import { expect, it } from 'vitest';
import { runStorm } from './storm/storm.ts';

// The most telling faults for a few seconds; `make chaos` has all of them, as long as one likes.
it('a short storm loses nothing', async () => {
  const told: string[] = [];
  const report = await runStorm({
    seed: 'short',
    seconds: 4,
    only: ['kill -9', 'executor: disk full', 'link: reset', 'gate: drain'],
    width: 2,
    slots: 4,
    diskBytes: 128 * 1024 * 1024,
    gapSec: 1,
    restSec: 30,
    tell: (line) => told.push(line),
  });
  expect(report.wrong, told.join('\n')).toEqual([]);
  expect(report.struck.length).toBeGreaterThan(3);
  expect(report.starts).toBeGreaterThan(3);
});
