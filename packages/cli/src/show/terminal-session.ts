import type { RunHandlers } from '@csc-fleet/client/offline';
import { writeFileWhole } from '../files/write-file.ts';
import { takeKeyboard } from '../terminal/raw.ts';
import { plainLine } from '../terminal/text.ts';
import { leave } from './follow.ts';

/** What types into a terminal: TerminalInput of the client. */
interface Input {
  readonly claim: { readonly executionId: string };
  write(bytes: Uint8Array): Promise<void>;
  resize(size: { readonly columns: number; readonly rows: number }): void;
  readonly ended: Promise<string | undefined>;
}

// A recording is kept in memory until it is known to be the one that the receipt names.
const mostRecorded = 256 * 1024 * 1024;

/** This terminal, while it is a job's. */
export class TerminalSession implements Disposable {
  readonly #recorded: Buffer[] = [];
  #recordedBytes = 0;
  #keyboard: Disposable | undefined;

  /** From now on every key is the job's. */
  open(input: Input, alert: (text: string) => void): void {
    this.#keyboard ??= takeKeyboard({
      onInput: (bytes) => input.write(bytes),
      onResize: (size) => input.resize(size),
      onLeave: () => {
        this[Symbol.dispose]();
        leave(input.claim.executionId, alert);
      },
    });
    void input.ended.then((why) => {
      if (why !== undefined && this.#keyboard !== undefined && why !== overNote)
        alert(plainLine(`csc: nothing more can be typed: ${why}`));
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
        this.#recordedBytes += data.length;
        if (this.#recordedBytes <= mostRecorded) this.#recorded.push(Buffer.from(data));
      },
    };
  }

  /** Throws FILE_UNWRITABLE. */
  writeRecording(file: string): void {
    writeFileWhole(file, Buffer.concat(this.#recorded), 0o600);
  }

  [Symbol.dispose](): void {
    this.#keyboard?.[Symbol.dispose]();
    this.#keyboard = undefined;
  }
}

// As a host says it when what it ran is over, which shows anyway.
const overNote = 'the command has ended';
