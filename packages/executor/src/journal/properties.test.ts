import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isCscError } from '@csc-fleet/common/errors';
import type { ChainLink } from '@csc-fleet/common/evidence';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Journal, Seal } from './journal.ts';
import { openSqliteJournal } from './sqlite-journal.ts';

const minute = 60_000;
const begin = Date.parse('2026-03-20T10:00:00Z');

/** What a gate that is taken over, time, and a host's bad luck can do, in any order. */
type Step =
  | {
      readonly do: 'redeem' | 'refuse';
      readonly ticket: number;
      readonly execution: number;
      readonly begins: number;
    }
  | { readonly do: 'finish' | 'deliver'; readonly execution: number }
  | { readonly do: 'prune' | 'restart' | 'lose' }
  | { readonly do: 'set clock'; readonly by: number };

const execution = fc.integer({ min: 0, max: 2 });
const use = fc.record({
  do: fc.constantFrom('redeem' as const, 'redeem' as const, 'refuse' as const),
  ticket: fc.integer({ min: 0, max: 9 }),
  execution,
  begins: fc.integer({ min: -70_000, max: 0 }),
});
const end = fc.record({ do: fc.constantFrom('finish' as const, 'deliver' as const), execution });
const prune = fc.constant({ do: 'prune' as const });
const luck = fc.record({ do: fc.constantFrom('restart' as const, 'lose' as const) });
const forwards = fc.constant(4 * minute);
const anywhere = fc.integer({ min: -9 * minute, max: 9 * minute });
const clock = fc.record({ do: fc.constant('set clock' as const), by: fc.oneof(forwards, anywhere) });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: use },
    { weight: 8, arbitrary: end },
    { weight: 4, arbitrary: prune },
    { weight: 6, arbitrary: clock },
    { weight: 1, arbitrary: luck },
  ),
  { minLength: 30, maxLength: 80 },
);

/** A journal on a real disk, a clock, and all that it has ever granted. */
class Model {
  readonly #directory = mkdtempSync(join(tmpdir(), 'csc-journal-'));
  /** By ticket and by execution id. */
  readonly #granted = new Map<string, number>();
  /** When a ticket begins is signed: it is the same whenever it comes. */
  readonly #times = new Map<string, number>();
  /** The bytes that are signed, by execution id. */
  readonly #outcomes = new Map<string, Set<string>>();
  /** All that was ever signed and kept, in order. */
  readonly #chain: (ChainLink & { readonly receiptSha256: string })[] = [];
  #now = begin;
  #latest = begin;
  #journals = 0;
  #signed = 0;
  #journal = this.#open();

  async take(step: Step): Promise<void> {
    if (step.do === 'set clock') this.#setClock(this.#now + step.by);
    if (step.do === 'prune') await this.#soon(this.#journal.prune(this.#date()));
    if (step.do === 'restart' || step.do === 'lose') await this.#reopen(step.do === 'lose');
    if (step.do === 'finish' || step.do === 'deliver') await this.#finish(`execution-${step.execution}`);
    if (step.do === 'deliver') await this.#soon(this.#journal.acknowledge(`execution-${step.execution}`));
    if (step.do === 'redeem' || step.do === 'refuse') await this.#use(step);
  }

  async end(): Promise<void> {
    await this.#journal.close();
    rmSync(this.#directory, { recursive: true });
  }

  get grants(): number[] {
    return [...this.#granted.values()];
  }

  get outcomes(): number[] {
    return [...this.#outcomes.values()].map(({ size }) => size);
  }

  /** What does not stand where the journal that it is from would have put it: nothing. */
  get misplaced(): unknown[] {
    return this.#chain.filter(({ epoch, sequence, previousSha256 }, index) => {
      const before = this.#chain[index - 1];
      if (before === undefined || before.epoch !== epoch)
        return sequence !== 1 || previousSha256 !== undefined;
      return sequence !== before.sequence + 1 || previousSha256 !== before.receiptSha256;
    });
  }

  // A ticket is redeemed only while it is good: that is checked before the journal is asked.
  async #use({ do: what, ticket, execution, begins }: Extract<Step, { ticket: number }>): Promise<void> {
    const [ticketId, executionId] = [`ticket-${ticket}`, `execution-${execution}`];
    const notBefore = this.#times.get(ticketId) ?? this.#now + begins;
    this.#times.set(ticketId, notBefore);
    const isGood = notBefore <= this.#now && this.#now < notBefore + minute;
    if (what === 'redeem' && !isGood) return;
    const times = { notBefore: new Date(notBefore), expiresAt: new Date(notBefore + minute) };
    const used = { ticketId, executionId, ...times };
    const { seal, count } = this.#sign();
    const given =
      what === 'redeem'
        ? this.#journal.redeem({ ...used, draft: '', bare: '', redeemedAt: this.#date(), approvals: [] })
        : this.#journal.refuse({ ...used, refusedAt: this.#date(), seal });
    if (!(await isGiven(given))) return;
    count();
    for (const id of [ticketId, executionId]) this.#granted.set(id, (this.#granted.get(id) ?? 0) + 1);
    if (what === 'refuse') this.#noteSent(executionId);
  }

  // What nobody waits for shares the transaction of what somebody does.
  async #soon(unhurried: Promise<unknown>): Promise<void> {
    await Promise.all([unhurried, this.#journal.progress('execution-none', '')]);
  }

  // What is sealed counts once the journal has taken it.
  #sign(): { readonly seal: Seal; readonly count: () => void } {
    this.#signed += 1;
    const receiptSha256 = `signed ${this.#signed}`;
    let link: ChainLink | undefined;
    return {
      seal: (given) => {
        link = given;
        return { receiptJson: Buffer.from(receiptSha256), receiptSha256, outputLogLength: 0 };
      },
      count: () => {
        if (link !== undefined) this.#chain.push({ ...link, receiptSha256 });
      },
    };
  }

  async #finish(executionId: string): Promise<void> {
    const { seal, count } = this.#sign();
    if (!(await isGiven(this.#journal.finish(executionId, seal)))) return;
    count();
    this.#noteSent(executionId);
  }

  #noteSent(executionId: string): void {
    const sent = this.#journal.receiptOf(executionId);
    if (sent !== undefined) this.#note(executionId, sent.receiptJson);
  }

  #note(executionId: string, receiptJson: Uint8Array): void {
    const known = this.#outcomes.get(executionId) ?? new Set();
    this.#outcomes.set(executionId, known.add(Buffer.from(receiptJson).toString()));
  }

  // A lost journal's successor is begun by a clock that is not behind what the lost one saw, as `docs/threat-model.md` says;
  // and what it has lost is execution ids, which only tickets from after it can bring back.
  async #reopen(loses: boolean): Promise<void> {
    await this.#journal.close();
    if (loses) {
      this.#journals += 1;
      this.#now = this.#latest + 1;
      for (const id of this.#granted.keys()) if (id.startsWith('execution')) this.#granted.delete(id);
      this.#outcomes.clear();
    }
    this.#journal = this.#open();
  }

  #setClock(now: number): void {
    this.#now = now;
    this.#latest = Math.max(this.#latest, now);
  }

  #open(): Journal {
    const path = join(this.#directory, `journal-${this.#journals}.sqlite`);
    return openSqliteJournal(path, { clock: { now: () => this.#date() } });
  }

  #date(): Date {
    return new Date(this.#now);
  }
}

async function isGiven(wanted: Promise<unknown>): Promise<boolean> {
  try {
    await wanted;
    return true;
  } catch (error) {
    if (isCscError(error)) return false;
    throw error;
  }
}

describe('a journal, whatever happens to it', () => {
  it('grants no id twice, lets out no two outcomes, and has all of them in one chain', {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const model = new Model();
        try {
          for (const step of sequence) await model.take(step);
          expect(Math.max(0, ...model.grants)).toBeLessThanOrEqual(1);
          expect(Math.max(0, ...model.outcomes)).toBeLessThanOrEqual(1);
          expect(model.misplaced).toEqual([]);
        } finally {
          await model.end();
        }
      }),
      { numRuns: 30 },
    );
  });
});
