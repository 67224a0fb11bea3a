import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeFailure } from './run-probe.ts';
import { type Area, areas, type Finding, readProbes, Stage } from './stage.ts';

// Every probe runs inside the real sandbox, through the real gate and executor, and says what it saw.
let stage: Stage;
const seen = new Map<Area, Map<string, Finding>>();
const said = new Map<Area, string>();

beforeAll(async () => {
  stage = await Stage.visit('battery');
  for (const area of areas) {
    const { findings, stderr } = await stage.probe(area);
    seen.set(area, findings);
    said.set(area, stderr);
  }
}, 120_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

describe.each(areas)('%s', (area) => {
  it('says of every probe what it saw', () => {
    expect([...(seen.get(area)?.keys() ?? [])], said.get(area)).toEqual(
      readProbes(area).map(({ name }) => name),
    );
  });

  it.each(readProbes(area))('$name: $tries → $expects', (probe) => {
    const finding = seen.get(area)?.get(probe.name);
    expect(finding?.held, describeFailure(probe, finding?.seen ?? said.get(area))).toBe(true);
  });
});
