import { expect, it } from 'vitest';
import { createFreezeTeller } from './index.ts';

it('tells a log of a freeze once, of another one again, and when it is over', () => {
  const told: string[] = [];
  const say = ({ why = '' }: { readonly why?: string }, message: string): void => {
    told.push(`${message} ${why}`);
  };
  const tell = createFreezeTeller({ info: say, warn: say });
  const freeze = {
    freeze_version: 'csc.freeze.v0.1',
    since: '2026-11-28T20:00:00Z',
    reason: 'drill',
  } as const;
  tell(undefined);
  expect(told).toEqual([]);
  const [finishing, ended] = (['finish', 'end'] as const).map((running) => ({ ...freeze, running }));
  for (const word of [finishing, finishing, ended, ended, undefined, undefined]) tell(word);
  expect(told).toEqual([
    expect.stringMatching(/^THE OWNERS HAVE FROZEN THE FLEET.*: drill; what runs goes on to its end$/),
    expect.stringMatching(/^THE OWNERS HAVE FROZEN THE FLEET.*: drill; what runs is ended$/),
    expect.stringMatching(/^the owners have thawed the fleet/),
  ]);
});
