import { expect, it } from 'vitest';
import type { Probe, Stage } from './stage.ts';

/** What came of an attempt. */
export interface Verdict {
  readonly held: boolean;
  readonly seen: unknown;
}

/** A probe that needs contracts of its own, or something done on the host meanwhile. */
export interface RunProbe extends Probe {
  attempt(stage: Stage): Promise<Verdict>;
}

/** One test a probe. The stage is asked for when they run. */
export function testProbes(probes: readonly RunProbe[], stage: () => Stage): void {
  it.each(probes.map((probe) => [`${probe.area}: ${probe.tries} → ${probe.expects}`, probe] as const))(
    '%s',
    async (_title, probe) => {
      const { held, seen } = await probe.attempt(stage());
      expect(held, describeFailure(probe, seen)).toBe(true);
    },
  );
}

/** What a failing probe says: everything that one needs to look for the hole. */
export function describeFailure({ area, name, tries, expects }: Probe, seen: unknown): string {
  const text = typeof seen === 'string' ? seen : JSON.stringify(seen);
  return `${area}/${name} tries: ${tries}; must be seen: ${expects}; seen: ${text}`;
}
