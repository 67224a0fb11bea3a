import { setTimeout as sleep } from 'node:timers/promises';
import type { TerminalFrame } from '@csc-fleet/common/messages';
import { maxTerminalSide, type TerminalRules } from '@csc-fleet/common/schema';
import { maxFrameInput, maxFramesAtOnce, verifyFrame } from '@csc-fleet/common/terminal';
import type { OpenTerminal } from './open-terminal.ts';
import type { Recorder } from './recorder.ts';

/** Who may type into a terminal, and how much. */
export interface InputRules {
  /** That the submission names: 32 bytes. */
  readonly key: Uint8Array;
  /** As frames name it. */
  readonly run: string;
  /** In all, in bytes. */
  readonly most: number;
  /** Bytes a second, over time. */
  readonly perSec: number;
}

/** How far input has come. */
export interface Taken {
  /** The last frame that was typed. */
  readonly sequence: number;
  /** Why no more is taken; empty where more is. */
  readonly ended: string;
}

const defaultMost = 10_000_000;
const defaultPerSec = 20_000;
// What a frame counts as for the rate, however little it types: each costs a verification.
const leastCost = 64;

/** The bounds of a policy, or what holds where it has none. */
export function inputBounds({
  input_bytes: most = defaultMost,
  input_bytes_per_sec: perSec = defaultPerSec,
}: TerminalRules) {
  return { most, perSec };
}

/**
 * What is typed into one terminal. The gate that brings it is believed nothing: a frame counts where the key that was made
 * for this run has signed it, for this run and as the next one. One that was typed is not typed again, and one that is
 * missing ends it, as nobody may choose what is left out of a command line.
 */
export class TerminalInput {
  readonly #rules: InputRules;
  readonly #terminal: Pick<OpenTerminal, 'type' | 'resize'>;
  readonly #recorder: Pick<Recorder, 'typed' | 'resized'>;
  #sequence = 0;
  #typed = 0;
  #ended = '';
  #isBusy = false;
  #tokens: number;
  #at = performance.now();

  constructor(
    rules: InputRules,
    terminal: Pick<OpenTerminal, 'type' | 'resize'>,
    recorder: Pick<Recorder, 'typed' | 'resized'>,
  ) {
    this.#rules = rules;
    this.#terminal = terminal;
    this.#recorder = recorder;
    this.#tokens = rules.perSec;
  }

  /** Types what counts of it, at its rate. Of what comes while something is typed, nothing is: it may be sent again. */
  async take(frames: readonly TerminalFrame[]): Promise<Taken> {
    if (this.#isBusy) return this.#taken();
    this.#isBusy = true;
    try {
      for (const frame of frames.slice(0, maxFramesAtOnce)) {
        if (this.#ended !== '') break;
        const refused = await this.#takeOne(frame);
        if (refused !== undefined) return { ...this.#taken(), ended: refused };
      }
    } finally {
      this.#isBusy = false;
    }
    return this.#taken();
  }

  /** Nothing more is typed. */
  end(why: string): void {
    if (this.#ended === '') this.#ended = why;
  }

  #taken(): Taken {
    return { sequence: this.#sequence, ended: this.#ended };
  }

  /** Gives why this frame does not count, where others may. */
  async #takeOne(frame: TerminalFrame): Promise<string | undefined> {
    const { sequence, kind } = frame;
    // Typed already: it was sent again, by whoever had no answer or means no good.
    if (sequence <= this.#sequence) return undefined;
    const bytes = kind?.$case === 'input' ? kind.value.length : 0;
    if (bytes > maxFrameInput) return 'a frame is longer than frames are';
    // Before it is verified, which is the most that it costs.
    await this.#wait(Math.max(leastCost, bytes));
    const { key, run, most } = this.#rules;
    // Of somebody else, and no reason not to hear who may type.
    if (!verifyFrame(frame, run, key)) return 'a frame was not signed with the key of this run';
    if (sequence !== this.#sequence + 1)
      this.end(`frame ${this.#sequence + 1} is missing: what is typed comes whole or not at all`);
    else if (this.#typed + bytes > most) this.end(`more than the ${most} bytes that the policy allows`);
    if (this.#ended !== '') return undefined;
    this.#typed += bytes;
    this.#sequence = sequence;
    if (kind?.$case === 'input') await this.#type(kind.value);
    else if (kind?.$case === 'resize') await this.#resize(kind.value);
    return undefined;
  }

  async #type(bytes: Uint8Array): Promise<void> {
    this.#recorder.typed(bytes);
    await this.#terminal.type(bytes);
  }

  async #resize({ columns, rows }: { readonly columns: number; readonly rows: number }): Promise<void> {
    const isSide = (side: number): boolean => Number.isInteger(side) && side >= 1 && side <= maxTerminalSide;
    if (!isSide(columns) || !isSide(rows)) return;
    this.#recorder.resized({ columns, rows });
    await this.#terminal.resize({ columns, rows });
  }

  async #wait(cost: number): Promise<void> {
    const { perSec } = this.#rules;
    const now = performance.now();
    this.#tokens = Math.min(Math.max(perSec, cost), this.#tokens + ((now - this.#at) / 1000) * perSec);
    this.#at = now;
    this.#tokens -= cost;
    if (this.#tokens < 0) await sleep((-this.#tokens / perSec) * 1000, undefined, { ref: false });
  }
}
