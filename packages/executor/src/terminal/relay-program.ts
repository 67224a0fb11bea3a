import type * as NodeFs from 'node:fs';
import type * as NodeTty from 'node:tty';

/** What node-pty's native half does, of which this is all that is used. */
interface Native {
  /** openpty(3), both ends non-blocking. */
  open(columns: number, rows: number): { readonly master: number; readonly slave: number };
  /** TIOCSWINSZ. */
  resize(master: number, columns: number, rows: number): void;
}

/** What the relay is told, one JSON document, as its last argument. */
export interface RelayOrder {
  /** The path of node-pty's native half. */
  readonly native: string;
  readonly columns: number;
  readonly rows: number;
  /** Whom it goes on as, once it has its terminal. Absent: as it is. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

/** Frames on its standard input: a kind, a length (32 bits, big-endian), the data. `passed`: its parent has the slave. */
export const relayFrames = { input: 0, resize: 1, hangUp: 2, passed: 3 } as const;

// Its text is the program: it must refer to nothing else but Node's globals and what it is given.
function relay(fs: typeof NodeFs, tty: typeof NodeTty, native: Native, order: RelayOrder): void {
  const { master, slave } = native.open(order.columns, order.rows);
  if (order.user !== undefined && process.getuid?.() === 0) {
    process.setgroups?.([]);
    process.setgid?.(order.user.gid);
    process.setuid?.(order.user.uid);
  }
  // Its parent opens the slave by this number, and has it closed here then.
  fs.writeSync(3, `${slave}\n`);
  const shown = new tty.ReadStream(master);
  let isOver = false;
  let heardAt = 0;
  const finish = (): void => {
    if (isOver) return;
    isOver = true;
    process.stdout.end(() => process.exit(0));
  };
  // EIO: nobody has the slave any more, and all that was shown has been read.
  shown.on('error', finish);
  shown.on('end', finish);
  shown.on('data', (chunk) => {
    heardAt = performance.now();
    if (process.stdout.write(chunk)) return;
    shown.pause();
    process.stdout.once('drain', () => shown.resume());
  });
  process.stdout.on('error', () => process.exit(0));
  const hangUp = (): void => {
    const quietMs = 500;
    setInterval(() => performance.now() - heardAt > quietMs && !shown.isPaused() && finish(), quietMs / 2);
  };
  // Where nobody reads what is typed, nothing more is taken: the next frame waits in the pipe.
  const type = (data: Buffer, done: () => void): void => {
    if (data.length === 0 || isOver) {
      done();
      return;
    }
    fs.write(master, data, 0, data.length, null, (error, written) => {
      const rest = data.subarray(error === null ? written : 0);
      if (error === null) type(rest, done);
      else if (error.code === 'EAGAIN') setTimeout(() => type(rest, done), 20);
      else done();
    });
  };
  const headBytes = 5;
  let waiting = Buffer.alloc(0);
  let isTyping = false;
  const take = (): void => {
    if (isTyping || waiting.length < headBytes) return;
    const kind = waiting[0];
    const end = headBytes + waiting.readUInt32BE(1);
    if (waiting.length < end) return;
    const data = waiting.subarray(headBytes, end);
    waiting = waiting.subarray(end);
    if (kind === 3) {
      fs.closeSync(slave);
      take();
      return;
    }
    if (kind === 2) hangUp();
    if (kind === 1 && !isOver) native.resize(master, data.readUInt16BE(0), data.readUInt16BE(2));
    if (kind !== 0) {
      // What comes after it was typed after it.
      fs.writeSync(3, '.');
      take();
      return;
    }
    isTyping = true;
    process.stdin.pause();
    type(data, () => {
      isTyping = false;
      fs.writeSync(3, '.');
      process.stdin.resume();
      take();
    });
  };
  process.stdin.on('data', (chunk: Buffer) => {
    waiting = Buffer.concat([waiting, chunk]);
    take();
  });
  // Its parent's end is its own: the terminal goes with the master.
  process.stdin.on('end', () => process.exit(0));
  process.stdin.on('error', () => process.exit(0));
}

/** The program of the relay, for `node -e`: text, so that a bundle needs no second file. */
export const relayProgram = `const order = JSON.parse(process.argv.at(-1)); (${relay})(require('node:fs'), require('node:tty'), require(order.native), order);`;
