import { spawn } from 'node:child_process';
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { CscError } from '@csc-fleet/common/errors';
import type { JobUser } from '@csc-fleet/sandbox/host';
import type { TerminalEnds } from '@csc-fleet/sandbox/launch';
import { relayFrames as frames, type RelayOrder, relayProgram } from './relay-program.ts';

/** Columns and rows. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A pseudo-terminal of one run. */
export interface OpenTerminal extends TerminalEnds {
  /** Types. Resolves once the terminal has taken it, which it does when what runs there reads; or once it is gone. */
  type(bytes: Uint8Array): Promise<void>;
  /** Its users hear of it (SIGWINCH). */
  resize(size: Size): Promise<void>;
  /** Resolves where its relay has crashed or was killed, and nobody here has ended it; never where it ends as it should. */
  readonly lost: Promise<void>;
  /** Takes it away: whoever still has it open reads its end. */
  close(): void;
}

/** Makes terminals. */
export type OpenTerminals = (size: Size, user: JobUser | undefined) => Promise<OpenTerminal>;

// Node starts in a fraction of it, also on a busy host; a ticket is short.
const startWithinMs = 10_000;

/**
 * Opens a pseudo-terminal in a process of its own, the relay, which runs as the job's user and passes bytes on. node-pty is
 * loaded there alone, for three reasons: the master that it opens is inherited by every child of its process, so that any
 * other job could have typed into this one; a write to a terminal that nobody reads would hold this process up; and
 * nothing there minds SIGCHLD. The executor itself has no terminal open but the slave, for as long as it takes to pass
 * it on. Rejects with SANDBOX_UNAVAILABLE.
 */
export const openTerminal: OpenTerminals = async ({ columns, rows }, user) => {
  const order: RelayOrder = {
    native: findNative(),
    columns,
    rows,
    ...(user === undefined ? {} : { user: { uid: user.uid, gid: user.gid } }),
  };
  const child = spawn(process.execPath, ['-e', relayProgram, JSON.stringify(order)], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: {},
    cwd: '/',
    // A session of its own: Ctrl-C at the executor's terminal is the executor's to handle.
    detached: true,
  });
  const answers = child.stdio[3] as Readable;
  const complaints = readHead(child.stderr);
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  child.stdin.on('error', () => undefined);
  answers.on('error', () => undefined);
  let isKilled = false;
  const lost = new Promise<void>((resolve) => {
    child.once('exit', (code) => {
      if (code !== 0 && !isKilled) resolve();
    });
  });
  const slaveNumber = await firstLine(answers, gone).catch(() => undefined);
  if (slaveNumber === undefined || child.pid === undefined || child.exitCode !== null) {
    child.kill('SIGKILL');
    throw unavailable(complaints());
  }
  return new RelayedTerminal({
    // Not by its name, which is another terminal's as soon as this one is gone. Where the relay had ended, it would
    // not have been waited for within this turn, so that its number is nobody else's.
    slave: openSync(`/proc/${child.pid}/fd/${slaveNumber}`, constants.O_RDWR | constants.O_NOCTTY),
    input: child.stdin,
    output: child.stdout,
    shownBytes: () => (child.stdout instanceof Socket ? child.stdout.bytesRead : 0),
    answers,
    gone,
    lost,
    kill: () => {
      isKilled = true;
      child.kill('SIGKILL');
    },
  });
};

// How long a relay may be silent that is to end, in milliseconds.
const heldMs = 3000;

interface Relay {
  readonly slave: number;
  readonly input: Writable;
  readonly output: Readable;
  /** That came so far. */
  shownBytes(): number;
  /** A byte for each frame that was taken. */
  readonly answers: Readable;
  readonly gone: Promise<void>;
  readonly lost: Promise<void>;
  kill(): void;
}

class RelayedTerminal implements OpenTerminal {
  readonly output: Readable;
  readonly lost: Promise<void>;
  readonly #relay: Relay;
  #slave: number | undefined;
  #isGone = false;
  readonly #waiting: (() => void)[] = [];

  constructor(relay: Relay) {
    this.#relay = relay;
    this.#slave = relay.slave;
    this.output = relay.output;
    this.lost = relay.lost;
    relay.answers.on('data', (bytes: Buffer) => {
      for (const resolve of this.#waiting.splice(0, bytes.length)) resolve();
    });
    void relay.gone.then(() => {
      this.#isGone = true;
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
    // Else its end would never be seen.
    this.#send(frames.passed, Buffer.alloc(0));
  }

  takeSlave(): number {
    const slave = this.#slave;
    if (slave === undefined) throw new TypeError('a terminal is passed on once');
    this.#slave = undefined;
    return slave;
  }

  type(bytes: Uint8Array): Promise<void> {
    return this.#ask(frames.input, bytes);
  }

  resize({ columns, rows }: Size): Promise<void> {
    const data = Buffer.alloc(4);
    data.writeUInt16BE(columns, 0);
    data.writeUInt16BE(rows, 2);
    return this.#ask(frames.resize, data);
  }

  hangUp(): void {
    void this.#ask(frames.hangUp, Buffer.alloc(0));
    // It may be held up: somebody has been handed the slave, and reads nothing of what was typed.
    let seen = -1;
    const held = setInterval(() => {
      const shown = this.#relay.shownBytes();
      if (shown === seen && this.output.readableLength === 0) this.#relay.kill();
      seen = shown;
    }, heldMs).unref();
    void this.#relay.gone.then(() => clearInterval(held));
  }

  close(): void {
    const slave = this.#slave;
    this.#slave = undefined;
    if (slave !== undefined) closeSync(slave);
    this.#relay.input.end();
    this.#relay.output.resume();
    // It ends with its input, unless it hangs.
    const hanging = setTimeout(() => this.#relay.kill(), 2000).unref();
    void this.#relay.gone.then(() => clearTimeout(hanging));
  }

  #ask(kind: number, data: Uint8Array): Promise<void> {
    if (this.#isGone) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#send(kind, data);
    });
  }

  #send(kind: number, data: Uint8Array): void {
    const head = Buffer.alloc(5);
    head.writeUInt8(kind, 0);
    head.writeUInt32BE(data.length, 1);
    if (this.#relay.input.writable) this.#relay.input.write(Buffer.concat([head, data]));
  }
}

// Of node-pty, or where a bundle has it.
function findNative(): string {
  const machine = `${process.platform}-${process.arch}`;
  const bundled = fileURLToPath(new URL(`./bin/pty-${machine}.node`, import.meta.url));
  if (existsSync(bundled)) return bundled;
  try {
    const pty = createRequire(import.meta.url).resolve('@lydell/node-pty');
    return createRequire(pty).resolve(`@lydell/node-pty-${machine}/pty.node`);
  } catch {
    throw unavailable(`@lydell/node-pty is not installed with it, or not for ${machine}`);
  }
}

function unavailable(why: string): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', `this host can open no terminal: ${why}`);
}

const mostLineBytes = 16;

/** The first line, a number. Rejects where there is none in time. */
function firstLine(stream: Readable, gone: Promise<void>): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    const take = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\n');
      if (end < 0 && text.length < mostLineBytes) return;
      settle();
      if (/^[0-9]+$/.test(text.slice(0, end))) resolve(Number(text.slice(0, end)));
      else reject(new TypeError('the relay does not say its terminal'));
    };
    const fail = (): void => {
      settle();
      reject(new TypeError('the relay has ended, or has not begun in time'));
    };
    const timer = setTimeout(fail, startWithinMs);
    const settle = (): void => {
      clearTimeout(timer);
      stream.off('data', take);
    };
    stream.on('data', take);
    void gone.then(fail);
  });
}

// For its owner, and short: what ends Node is in its first lines.
function readHead(stream: Readable): () => string {
  let head = '';
  stream.on('data', (chunk: Buffer) => {
    if (head.length < 2000) head += chunk.toString();
  });
  stream.on('error', () => undefined);
  return () => head.split('\n').find((line) => /Error/.test(line)) ?? 'its relay has not begun in time';
}
