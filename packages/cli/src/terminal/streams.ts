import { fstatSync, write } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCollector } from '@csc-fleet/common/collect';
import { escapeInvisible, withoutSecrets } from '@csc-fleet/common/errors';

/**
 * Where bytes go: each write is awaited, so that a slow reader holds its writer back. Rejects with EPIPE (write(2))
 * once the reader has gone.
 */
export type Sink = (data: string | Uint8Array) => Promise<void>;

const passed = createCollector();

/** Results. Everything that a script would want to read, and nothing else. */
export const writeOut: Sink = createSink(1);

/** What a command writes to its own stderr. Our own words go through `note`. */
export const writeErr: Sink = createSink(2);

/** A line for people, on stderr; never a key that somebody gave in the place of its path. */
export function note(line: string): void {
  process.stderr.write(`${withoutSecrets(line)}\n`);
}

// The major number of /dev/null and its kin (Linux, Documentation/admin-guide/devices.txt).
const memoryDevices = 1;

/**
 * Whether it is worth asking its stream, which takes Node's streams (6 ms) where nothing else has loaded them: no pipe, file or
 * /dev/null is a terminal.
 */
export function mayBeTerminal(fd: 1 | 2): boolean {
  try {
    const stats = fstatSync(fd);
    return stats.isCharacterDevice() && ((stats.rdev >> 8) & 0xfff) !== memoryDevices;
  } catch {
    return true;
  }
}

/**
 * Has `listener`, and no second time, hear of the errors of a stream of this process. The stream is made when it is first asked
 * for.
 */
export function onStreamError(name: 'stdout' | 'stderr', listener: () => void): void {
  const made = Object.getOwnPropertyDescriptor(process, name);
  if (made?.get === undefined) return void process[name].off('error', listener).on('error', listener);
  if (awaited.has(name)) return;
  awaited.add(name);
  const get = () => {
    awaited.delete(name);
    Object.defineProperty(process, name, made);
    return process[name].off('error', listener).on('error', listener);
  };
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get });
}

const awaited = new Set<string>();

/** One JSON document on one line, on stdout or where else it is to go; no part of a text in it is invisible. */
export function writeJson(value: unknown, write: Sink = writeOut): Promise<void> {
  return write(`${escapeInvisible(JSON.stringify(value))}\n`);
}

/** Narrows to what a sink rejects with once nobody reads what it writes. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

/** The same sink, for what must go on whether somebody reads it or not. */
export function indifferent(write: Sink): Sink {
  return (data) =>
    write(data).catch((error: unknown) => {
      if (!isBrokenPipe(error)) throw error;
    });
}

/**
 * Node writes to a pipe synchronously, and a reader that stalls would stop every timer of this process with it. So
 * pipes and files are written through the thread pool; a terminal through its stream, which progress displays hook.
 */
function createSink(fd: 1 | 2): Sink {
  let last: Promise<void> = Promise.resolve();
  return (data) => {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    const done = last.then(() => writeAll(fd, bytes));
    passed(bytes.length);
    last = done.catch(() => {});
    return done;
  };
}

async function writeAll(fd: 1 | 2, bytes: Uint8Array): Promise<void> {
  const stream = mayBeTerminal(fd) ? (fd === 1 ? process.stdout : process.stderr) : undefined;
  if (stream?.isTTY) {
    if (!stream.write(bytes)) await new Promise((resolve) => stream.once('drain', resolve));
    return;
  }
  for (let offset = 0; offset < bytes.length; ) offset += await writeSome(fd, bytes.subarray(offset));
}

function writeSome(fd: number, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, (error, written) => {
      if (error === null) resolve(written);
      // Whoever shares the pipe may have made it non-blocking.
      else if (error.code === 'EAGAIN') sleep(5).then(() => resolve(0));
      else reject(error);
    });
  });
}
