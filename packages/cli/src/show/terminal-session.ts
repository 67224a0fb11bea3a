import { setTimeout as sleep } from 'node:timers/promises';
import type { RunHandlers } from '@csc-fleet/client/offline';
import { cutRecording } from '@csc-fleet/common/terminal';
import { writeFileWhole } from '../files/write-file.ts';
import { takeKeyboard } from '../terminal/raw.ts';
import { plainLine } from '../terminal/text.ts';
import { leave } from './follow.ts';

/** What types into a terminal: TerminalInput of the client. */
interface Input {
  readonly claim: { readonly executionId: string };
  write(bytes: Uint8Array): Promise<void>;
  settled(): Promise<void>;
  resize(size: { readonly columns: number; readonly rows: number }): void;
  readonly ended: Promise<string | undefined>;
}

// A recording is kept in memory until it is known to be the one that the receipt names.
const defaultMostRecorded = 256 * 1024 * 1024;

// Whoever leaves a host that takes nothing waits no longer than this, in milliseconds.
const settleWithinMs = 2000;

/** This terminal, while it is a job's. */
export class TerminalSession implements Disposable {
  readonly #recorded: Buffer[] = [];
  readonly #mostRecorded: number;
  #recordedBytes = 0;
  #keyboard: Disposable | undefined;

  /** @param mostRecorded bytes of the recording that are kept here; absent: 256 MiB */
  constructor(mostRecorded = defaultMostRecorded) {
    this.#mostRecorded = mostRecorded;
  }

  /** From now on every key is the job's. */
  open(input: Input, alert: (text: string) => void): void {
    this.#keyboard ??= takeKeyboard({
      onInput: (bytes) => input.write(bytes),
      settled: async () => {
        const isLate = sleep(settleWithinMs, true, { ref: false });
        if (await Promise.race([input.settled().then(() => false), isLate]))
          alert('csc: the host has not taken all that you have typed; what it has not, is lost if you leave');
      },
      onResize: (size) => input.resize(size),
      onLeave: () => {
        this[Symbol.dispose]();
        leave(input.claim.executionId, alert, 'attach');
      },
    });
    void input.ended.then((why) => {
      if (why !== undefined && this.#keyboard !== undefined && why !== overNote)
        alert(plainLine(`csc: nothing more can be typed: ${why}`));
    });
  }

  /** From now on keys do nothing and are not shown, but for those that leave: `~.`, and Ctrl-C. */
  lookOn(executionId: string, alert: (text: string) => void): void {
    const onLeave = (): never => {
      this[Symbol.dispose]();
      return leave(executionId, alert, 'attach');
    };
    this.#keyboard ??= takeKeyboard({
      onInput: async (bytes) => {
        if (bytes.includes(ctrlC)) onLeave();
      },
      settled: async () => {},
      onResize: () => {},
      onLeave,
    });
  }

  /** The same handlers, beside which the recording is kept. */
  recording(handlers: RunHandlers): RunHandlers {
    return {
      ...handlers,
      onEvent: (event) => {
        // What csc says from here on is for lines as they usually are.
        if (event.type === 'finished') this[Symbol.dispose]();
        return handlers.onEvent?.(event);
      },
      onRecording: (data) => {
        // Up to where it is full, without a gap.
        const room = Math.max(0, this.#mostRecorded - this.#recordedBytes);
        this.#recordedBytes += data.length;
        if (room > 0) this.#recorded.push(Buffer.from(data.subarray(0, room)));
      },
    };
  }

  /**
   * Says in the file and beside it where it is not whole. Where nothing ran on a terminal, nothing is written. Gives what it
   * wrote, in words. Throws FILE_UNWRITABLE.
   */
  writeRecording(file: string, alert: (text: string) => void): string {
    const bytes = Buffer.concat(this.#recorded);
    const [kept, all] = [this.#mostRecorded, this.#recordedBytes];
    if (all === 0) return plainLine(`csc: nothing was recorded, and ${file} is not written`);
    const isWhole = all <= kept;
    const why = `the recording is cut here: csc keeps ${kept} of its ${all} bytes`;
    writeFileWhole(file, isWhole ? bytes : cutRecording(bytes, why), 0o600);
    if (!isWhole)
      alert(
        plainLine(
          `csc: CUT: ${file} has the first ${kept} of ${all} bytes of the recording, and is not what the receipt names; csc get --recording FILE writes all of it`,
        ),
      );
    return plainLine(`csc: recording written to ${file}; csc play shows it`);
  }

  [Symbol.dispose](): void {
    this.#keyboard?.[Symbol.dispose]();
    this.#keyboard = undefined;
  }
}

const ctrlC = 0x03;

// As a host says it when what it ran is over, which shows anyway.
const overNote = 'the command has ended';
