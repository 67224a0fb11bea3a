import { spawnSync } from 'node:child_process';
import { CscError } from '@csc-fleet/common/errors';
import { maxTerminalSide } from '@csc-fleet/common/schema';
import { note } from './streams.ts';

/** What the terminal in front of the user is. */
export interface OwnTerminal {
  readonly columns: number;
  readonly rows: number;
  /** TERM. */
  readonly type: string;
}

/** What is made of what is typed. */
export interface Keyboard {
  /** Everything but what is for csc itself. Nothing more is read until it resolves. */
  onInput(bytes: Uint8Array): Promise<void>;
  /** Resolves once all of that has been typed, or will not be soon. */
  settled(): Promise<void>;
  onResize(size: Pick<OwnTerminal, 'columns' | 'rows'>): void;
  /** `~.` at the beginning of a line, or the terminal has gone. */
  onLeave(): void;
}

/** Throws REQUEST_INVALID where standard input or output is none. */
export function ownTerminal(asker: '--tty' | 'csc attach'): OwnTerminal {
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    const which = process.stdin.isTTY ? 'standard output' : 'standard input';
    const otherwise = asker === '--tty' ? 'leave --tty out, or ' : '';
    const message = `${asker} takes a terminal, and ${which} is none: ${otherwise}run csc on a terminal (script -c makes one)`;
    throw new CscError('REQUEST_INVALID', message);
  }
  const type = process.env['TERM'] ?? '';
  return { ...ownSize(), type: /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/.test(type) ? type : 'dumb' };
}

// One that nobody has told its size has 0 columns.
function ownSize(): Pick<OwnTerminal, 'columns' | 'rows'> {
  const side = (value: number | undefined, otherwise: number): number =>
    Math.min(value === undefined || value <= 0 ? otherwise : value, maxTerminalSide);
  return { columns: side(process.stdout.columns, 80), rows: side(process.stdout.rows, 24) };
}

/** Signals that end this process, or would: the terminal is given back before. */
const endings = ['SIGHUP', 'SIGQUIT'] as const;

/**
 * Puts the terminal into raw mode, so that every key is the job's, until it is disposed; whatever ends this process
 * before, but SIGKILL, gives it back as it was. While it is stopped (SIGTSTP, `~^Z`), the terminal is the shell's.
 */
export function takeKeyboard(keyboard: Keyboard): Disposable {
  const { stdin } = process;
  const escapes = new EscapeReader();
  let isOver = false;
  const setRaw = (isRaw: boolean): void => {
    try {
      stdin.setRawMode(isRaw);
      // Node's raw mode still makes CR LF of LF, which a full-screen program does not mean; what gives it back undoes this.
      if (isRaw) spawnSync('stty', ['-opost'], { stdio: [0, 'ignore', 'ignore'] });
    } catch {
      // The terminal has gone (EIO): there is nothing to give back.
    }
  };
  const suspend = (): void => {
    setRaw(false);
    // SIGSTOP, as SIGTSTP is handled here.
    process.kill(process.pid, 'SIGSTOP');
  };
  const onContinue = (): void => {
    if (isOver) return;
    setRaw(true);
    keyboard.onResize(ownSize());
  };
  // What was typed before a wish comes before it, and what was typed behind it after.
  const take = async (bytes: Uint8Array): Promise<void> => {
    for (let rest = bytes; rest.length > 0 && !isOver; ) {
      const { input, wants, read } = escapes.read(rest);
      rest = rest.subarray(read);
      if (input.length > 0) await keyboard.onInput(input);
      if (wants === 'help') note(`\r\n${escapeHelp}\r`);
      if (wants === 'suspend' || wants === 'leave') await keyboard.settled();
      if (isOver) return;
      if (wants === 'suspend') suspend();
      if (wants === 'leave') keyboard.onLeave();
    }
  };
  const onData = (bytes: Buffer): void => {
    stdin.pause();
    void take(bytes).finally(() => isOver || stdin.resume());
  };
  const onResize = (): void => keyboard.onResize(ownSize());
  const restore = (): void => setRaw(false);
  const onEnding = (): void => {
    restore();
    keyboard.onLeave();
  };
  const onGone = (): void => keyboard.onLeave();
  setRaw(true);
  stdin.on('data', onData).on('end', onGone).on('error', onGone);
  process.stdout.on('resize', onResize);
  process.on('exit', restore).on('SIGTSTP', suspend).on('SIGCONT', onContinue);
  for (const signal of endings) process.on(signal, onEnding);
  return {
    [Symbol.dispose]: () => {
      isOver = true;
      stdin.off('data', onData).off('end', onGone).off('error', onGone).pause();
      process.stdout.off('resize', onResize);
      process.off('exit', restore).off('SIGTSTP', suspend).off('SIGCONT', onContinue);
      for (const signal of endings) process.off(signal, onEnding);
      restore();
      // Else an open terminal would keep this process.
      stdin.unref();
    },
  };
}

const escapeHelp = 'csc: ~. leaves (the run goes on), ~^Z suspends csc, ~? says this, ~~ types a tilde';

const tilde = 0x7e;
const wishes = new Map<number, 'leave' | 'suspend' | 'help'>([
  [0x2e, 'leave'],
  [0x1a, 'suspend'],
  [0x3f, 'help'],
]);

/** Finds what is for csc itself, as ssh(1) does: a tilde at the beginning of a line, and what comes behind it. */
export class EscapeReader {
  #at: 'line' | 'tilde' | 'within' = 'line';

  /** What is to be typed, up to the first wish, and how many bytes that was: the rest is for the next call. */
  read(bytes: Uint8Array): {
    readonly input: Uint8Array;
    readonly wants?: 'leave' | 'suspend' | 'help';
    readonly read: number;
  } {
    const input: number[] = [];
    for (const [index, byte] of bytes.entries()) {
      if (this.#at === 'tilde') {
        const wants = wishes.get(byte);
        this.#at = wants === undefined ? 'within' : 'line';
        if (wants !== undefined) return { input: Uint8Array.from(input), wants, read: index + 1 };
        if (byte !== tilde) input.push(tilde);
      } else if (this.#at === 'line' && byte === tilde) {
        this.#at = 'tilde';
        continue;
      }
      input.push(byte);
      this.#at = byte === 0x0d || byte === 0x0a ? 'line' : 'within';
    }
    return { input: Uint8Array.from(input), read: bytes.length };
  }
}
