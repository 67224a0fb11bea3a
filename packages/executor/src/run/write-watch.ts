import { setTimeout as sleep } from 'node:timers/promises';
import type { Measurer } from '../evidence/measurer.ts';
import type { FileTime } from '../evidence/written.ts';
import { addWritten, type Written } from '../evidence/written.ts';
import { measureDeleted } from './deleted-files.ts';
import { type Fall, FreeSpace } from './free-space.ts';

export interface WriteWatch {
  /** Stops looking, and looks once more. */
  finish(): Promise<Written>;
}

export interface WriteLimits {
  readonly roots: readonly string[];
  readonly since: FileTime;
  /** What was seen of it before the watch began. */
  readonly before: Written;
  /** Absent: nothing is limited, and only `finish` looks. */
  readonly most?: { readonly bytes: number; readonly files: number };
  readonly measurer: Pick<Measurer, 'measure'>;
  /** The processes that may have written it, as far as they are known: what they have deleted and keep open counts. */
  readonly processes: () => readonly number[];
  /** Called at most once, as soon as more than that is seen. */
  readonly onExceeded: () => void;
}

// How often the file system is asked what it has left: always the same, whatever the job makes of its tree.
const askMs = 100;
// How often is looked whatever it says: others may free what the job takes. Where its word comes late, much more often.
const lookMs = 5000;
const lookMsUnasked = 500;
// What one look may take; and one that has to decide.
const patienceMs = 1000;
const lastPatienceMs = 2000;
const decisivePatienceMs = 10_000;

/**
 * Watches how much is written below write scopes, where no quota of the file system's owner does. A look is due when the
 * file system has lost so much since the last one that the limit may be reached. A tree that is too large to be looked
 * through in time is not the job's fault: earlier ones may have left it. Only where the file system has lost more than the
 * limit, and a patient look does not get through either, is that taken for the job's doing.
 */
export function watchWrites(limits: WriteLimits): WriteWatch {
  const watch = new Watch(limits);
  const stopping = new AbortController();
  const looking = limits.most === undefined ? undefined : watch.run(stopping.signal);
  return {
    async finish() {
      stopping.abort();
      await looking;
      return await watch.look(lastPatienceMs);
    },
  };
}

class Watch {
  readonly #limits: WriteLimits;
  readonly #space: FreeSpace;
  #exceeded = false;
  /** What the last look has seen, and what the file system had lost when it began. */
  #seen: Written;
  #fallThen: Fall = { bytes: 0, inodes: 0 };

  constructor(limits: WriteLimits) {
    this.#limits = limits;
    this.#seen = limits.before;
    this.#space = new FreeSpace(limits.roots);
  }

  async run(signal: AbortSignal): Promise<void> {
    const everyMs = this.#space.isPrompt ? lookMs : lookMsUnasked;
    let due = performance.now() + everyMs;
    let pauseMs = askMs;
    while (!this.#exceeded && (await rest(pauseMs, signal))) {
      pauseMs = askMs;
      const begun = performance.now();
      if (begun < due && !this.#mayExceed(await this.#space.fall())) continue;
      await this.look(patienceMs);
      // Others may write as well: no more than half the time is spent on looking.
      pauseMs = Math.max(askMs, performance.now() - begun);
      due = performance.now() + everyMs;
    }
  }

  async look(ms: number): Promise<Written> {
    const { roots, since, measurer, processes } = this.#limits;
    this.#fallThen = await this.#space.fall();
    const written = await measurer.measure({ roots, since, ms });
    this.#seen = addWritten(written, await measureDeleted(processes(), roots, ms));
    if (this.#exceeded) return written;
    const isSuspect = !this.#seen.complete && (await this.#hasFallen());
    if (isSuspect && ms < decisivePatienceMs && !this.#isTooMuch())
      return await this.look(decisivePatienceMs);
    if (isSuspect || this.#isTooMuch()) {
      this.#exceeded = true;
      this.#limits.onExceeded();
    }
    return written;
  }

  #mayExceed({ bytes, inodes }: Fall): boolean {
    const { most } = this.#limits;
    if (most === undefined) return false;
    return (
      this.#seen.bytes + bytes - this.#fallThen.bytes > most.bytes ||
      this.#seen.inodes + inodes - this.#fallThen.inodes > most.files
    );
  }

  #isTooMuch(): boolean {
    const { most } = this.#limits;
    return most !== undefined && (this.#seen.bytes > most.bytes || this.#seen.inodes > most.files);
  }

  async #hasFallen(): Promise<boolean> {
    const { most, before } = this.#limits;
    if (most === undefined) return false;
    const { bytes, inodes } = await this.#space.fall();
    return before.bytes + bytes > most.bytes || before.inodes + inodes > most.files;
  }
}

// False where it was cut short.
async function rest(ms: number, signal: AbortSignal): Promise<boolean> {
  return await sleep(ms, true, { signal, ref: false }).catch(() => false);
}
