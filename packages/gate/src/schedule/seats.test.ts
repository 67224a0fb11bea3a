import { canonicalJson } from '@csc-fleet/common/encoding';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Seats } from './seats.ts';

/** An executor as placement sees it, that counts how often it is looked at. */
class Host {
  readonly assigned = new Set<number>();
  looks = 0;
  resting = false;
  #onFreer: () => void = () => undefined;
  readonly #labels: string;
  readonly slots: number;

  constructor(labels: Readonly<Record<string, string>>, slots: number) {
    this.#labels = canonicalJson(labels);
    this.slots = slots;
  }

  get free(): number {
    return this.resting ? 0 : this.slots - this.assigned.size;
  }

  fits(selector: Readonly<Record<string, string>>, policySha256: string): boolean {
    this.looks += 1;
    return policySha256 === 'p' && canonicalJson({ ...selector }) === this.#labels;
  }

  watch(onFreer: () => void): void {
    this.#onFreer = onFreer;
  }

  rest(is: boolean): void {
    this.resting = is;
    if (!is) this.#onFreer();
  }

  end(): void {
    const [first] = this.assigned;
    if (first !== undefined) this.assigned.delete(first);
    this.#onFreer();
  }
}

const zones = ['a', 'b'] as const;
const host = fc.nat({ max: 5 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('place' as const), zone: fc.constantFrom(...zones) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('end' as const, 'rest' as const, 'wake' as const), host }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('leave' as const, 'come' as const), host }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recount' as const) }) },
);

describe('seats', () => {
  it('are given as by looking at all of them, whatever happens in between', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
        const there = new Set<Host>();
        const seats = new Seats<Host>((it) => there.has(it));
        const hosts: Host[] = [];
        const come = (index: number): void => {
          const before = hosts[index];
          if (before !== undefined && there.delete(before)) seats.remove(before);
          const fresh = new Host({ zone: zones[index % 2] ?? 'a' }, 1 + (index % 3));
          hosts[index] = fresh;
          there.add(fresh);
          seats.add(fresh);
        };
        for (let index = 0; index < 4; index++) come(index);
        let number = 0;
        for (const it of steps) {
          if (it.do === 'recount') seats.recount();
          else if (it.do === 'place') {
            const fit = [...there].filter((one) => one.free > 0 && one.fits({ zone: it.zone }, 'p'));
            const found = seats.least({ selector: { zone: it.zone }, policySha256: 'p' }, there, () => true);
            const least = Math.min(...fit.map(({ assigned }) => assigned.size));
            expect(found?.assigned.size).toBe(fit.length === 0 ? undefined : least);
            expect(found === undefined || fit.includes(found)).toBe(true);
            expect(seats.hasFree()).toBe([...there].some(({ free }) => free > 0));
            found?.assigned.add(++number);
          } else {
            const one = hosts[it.host];
            if (it.do === 'come') come(it.host);
            else if (one === undefined) continue;
            else if (it.do === 'end') one.end();
            else if (it.do === 'leave') {
              if (there.delete(one)) seats.remove(one);
            } else one.rest(it.do === 'rest');
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('pass over who is not wanted, and give it to the next who asks', () => {
    const there = [1, 2, 3].map(() => new Host({}, 1));
    const seats = new Seats<Host>(() => true);
    for (const it of there) seats.add(it);
    const needs = { selector: {}, policySha256: 'p' };
    expect(seats.least(needs, there, (it) => it === there[2])).toBe(there[2]);
    expect(seats.least(needs, there, () => false)).toBeUndefined();
    expect(seats.least(needs, there, () => true)).toBe(there[0]);
  });

  it('of a thousand hosts, are found without looking at more than a few', () => {
    const there = Array.from({ length: 1000 }, () => new Host({}, 4));
    const seats = new Seats<Host>(() => true);
    for (const it of there) seats.add(it);
    const needs = { selector: {}, policySha256: 'p' };
    let wanted = 0;
    for (let count = 0; count < 10_000; count++) {
      const found = seats.least(needs, there, () => ++wanted > 0);
      if (found === undefined) there[count % 1000]?.end();
      else found.assigned.add(count);
    }
    expect(there.reduce((sum, { looks }) => sum + looks, 0)).toBe(1000);
    expect(wanted).toBeLessThan(10_001);
    expect(there.reduce((sum, { assigned }) => sum + assigned.size, 0)).toBeGreaterThan(3990);
  });
});
