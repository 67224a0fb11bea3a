import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OutputChunk, OutputStream } from '@csc-fleet/common/messages';
import { maxFrameBytes, maxFrameData, readFrames, streamOfKey } from '@csc-fleet/common/output-log';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkpointsOf, type Extent, OutputLog, type Wanted } from './output-log.ts';
import { encodeItem, itemField } from './reader.ts';

let directory: string;
let path: string;
const logs: OutputLog[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-output-'));
  path = join(directory, 'a.log');
});
afterEach(async () => {
  for (const log of logs.splice(0)) await log.close();
  rmSync(directory, { recursive: true });
});

async function open(extent: Extent = 'growing'): Promise<OutputLog> {
  const log = await OutputLog.open(path, extent);
  logs.push(log);
  return log;
}

const limits = { stdout_bytes: 2 ** 30, stderr_bytes: 2 ** 30 };
const known = { commandIds: new Set(['main', 'other']), limits };

function frame(offset: number, data: string | Buffer, chunk: Partial<OutputChunk> = {}): Buffer {
  const empty = { commandId: 'main', stream: OutputStream.STDOUT, monotonicNs: 0 };
  const whole = { ...empty, offset, data: Buffer.from(data), ...chunk };
  return Buffer.from(encodeItem(itemField.chunk, OutputChunk.encode(whole).finish()));
}

async function readAll(log: OutputLog, position = 0): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const { bytes } of log.read(position)) pieces.push(bytes);
  return Buffer.concat(pieces);
}

const refused = expect.objectContaining({ code: 'REQUEST_INVALID' });

describe('following', () => {
  const block = 32 * 1024;
  let sent = 0;
  /** One message, of frames that are all different. */
  function message(frames: number): Buffer {
    const made = Array.from({ length: frames }, () => {
      sent += 1;
      return frame((sent - 1) * block, Buffer.alloc(block, 1 + (sent % 251)));
    });
    return Buffer.concat(made);
  }
  const blank = (length: number) => writeFileSync(path, Buffer.alloc(length), { flag: 'r+' });
  beforeEach(() => {
    sent = 0;
  });

  it('reads what was appended last from memory, and from the disk what was before it', async () => {
    const log = await open();
    using _ = log.follow();
    const messages = Array.from({ length: 12 }, () => message(4));
    let length = 0;
    for (const it of messages) length = await log.append(length, it, known);
    const all = Buffer.concat(messages);
    expect((await readAll(log)).equals(all)).toBe(true);
    const seventh = messages.slice(0, 6).reduce((sum, it) => sum + it.length, 0);
    // The disk has nothing of it any more: what is still right comes from memory, and is no more than is allowed.
    blank(all.length);
    expect((await readAll(log, seventh)).equals(all.subarray(seventh))).toBe(true);
    await expect(readAll(log)).rejects.toThrow('malformed');
  });

  it.each([
    { what: 'nobody follows', frames: 4, follows: false, memory: 0 },
    { what: 'a piece is small', frames: 1, follows: true, memory: 0 },
    { what: 'a piece lies in memory that is much larger', frames: 4, follows: true, memory: 8 * 2 ** 20 },
  ])('keeps nothing where $what', async ({ frames, follows, memory }) => {
    const log = await open();
    using _ = follows ? log.follow() : undefined;
    const sent = message(frames);
    const held = Buffer.alloc(memory + sent.length).subarray(memory);
    sent.copy(held);
    const length = await log.append(0, held, known);
    blank(length);
    await expect(readAll(log)).rejects.toThrow('malformed');
  });

  it('keeps nothing once nobody follows any more, and nothing of what was cut off', async () => {
    const log = await open();
    const first = message(4);
    {
      using _ = log.follow();
      await log.append(0, first, known);
    }
    using _ = log.follow();
    blank(first.length);
    await expect(readAll(log)).rejects.toThrow('malformed');
    writeFileSync(path, first, { flag: 'r+' });
    const second = message(4);
    await log.append(first.length, second, known);
    await log.confirm(first.length);
    expect((await readAll(log)).equals(first)).toBe(true);
    const third = message(4);
    await log.append(first.length, third, known);
    expect((await readAll(log)).equals(Buffer.concat([first, third]))).toBe(true);
  });
});

describe('appending', () => {
  it('gives back what was appended, from the beginning of any frame', async () => {
    const log = await open();
    const frames = [frame(0, 'one'), frame(3, 'two'), frame(0, 'err', { stream: 2 })];
    let length = 0;
    for (const it of frames) length = await log.append(length, it, known);
    expect(await readAll(log)).toEqual(Buffer.concat(frames));
    expect(await readAll(log, frames[0]?.length)).toEqual(Buffer.concat(frames.slice(1)));
    expect(log.length).toBe(length);
  });

  it('skips what it has, whole or in part', async () => {
    const log = await open();
    const both = Buffer.concat([frame(0, 'one'), frame(3, 'two')]);
    await log.append(0, frame(0, 'one'), known);
    expect(await log.append(0, both, known)).toBe(both.length);
    expect(await log.append(0, both, known)).toBe(both.length);
    expect(await readAll(log)).toEqual(both);
  });

  it('takes several at once in their order', async () => {
    const log = await open();
    const frames = Array.from({ length: 50 }, (_, index) => frame(index * 3, 'abc'));
    const ends = frames.map((_, index) => Buffer.concat(frames.slice(0, index + 1)).length);
    const appending = frames.map((it, index) => log.append((ends[index] ?? 0) - it.length, it, known));
    expect(await Promise.all(appending)).toEqual(ends);
    expect(await readAll(log)).toEqual(Buffer.concat(frames));
  });

  const good = frame(0, 'good');
  it.each<[string, number, Buffer]>([
    ['a gap in the log', good.length + 1, frame(4, 'x')],
    ['a gap in a stream', good.length, frame(5, 'x')],
    ['a step back in a stream', good.length, frame(3, 'x')],
    ['a stream that begins in the middle', good.length, frame(1, 'x', { stream: 2 })],
    ['an unknown command', good.length, frame(0, 'x', { commandId: 'none' })],
    ['no stream', good.length, frame(4, 'x', { stream: 0 })],
    ['an unknown stream', good.length, frame(4, 'x', { stream: 4 as OutputStream })],
    ['too much data', good.length, frame(4, Buffer.alloc(maxFrameData + 1))],
    ['half a frame', good.length, frame(4, 'x').subarray(0, -1)],
    [
      'half a frame after a whole one',
      good.length,
      Buffer.concat([frame(4, 'x'), frame(5, 'y').subarray(0, 3)]),
    ],
    ['an item that is no chunk', good.length, Buffer.from(encodeItem(itemField.end, Buffer.alloc(0)))],
    ['a length without an end', good.length, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ['a field that a chunk does not have', good.length, Buffer.from([0x0a, 0x02, 0x30, 0x01])],
    ['a field that is cut off', good.length, Buffer.from([0x0a, 0x02, 0x0a, 0x05])],
    ['a negative offset', good.length, frame(-1, 'x', { stream: 2 })],
  ])('refuses %s and appends nothing', async (_what, at, bytes) => {
    const log = await open();
    await log.append(0, good, known);
    await expect(log.append(at, bytes, known)).rejects.toEqual(refused);
    expect(log.length).toBe(good.length);
    expect(readFileSync(path)).toEqual(good);
    // And goes on as if it had not been.
    expect(await log.append(good.length, frame(4, 'x'), known)).toBe(good.length + frame(4, 'x').length);
  });

  it('refuses a frame that no reader could take, however it came to be so long', async () => {
    const log = await open();
    // Repeated members are good protobuf; the last one counts.
    const name = OutputChunk.encode({
      commandId: 'x'.repeat(1 << 20),
      stream: 0,
      offset: 0,
      monotonicNs: 0,
      data: Buffer.alloc(0),
    }).finish();
    const chunk = OutputChunk.encode({
      commandId: 'main',
      stream: 1,
      offset: 0,
      monotonicNs: 0,
      data: Buffer.from('x'),
    }).finish();
    const long = Buffer.from(encodeItem(itemField.chunk, Buffer.concat([name, name, chunk])));
    expect(long.length).toBeGreaterThan(maxFrameBytes);
    await expect(log.append(0, long, known)).rejects.toEqual(refused);
  });

  it('says SPOOL_FULL where the disk takes no more', async () => {
    const log = await open();
    rmSync(directory, { recursive: true });
    writeFileSync(directory, 'no directory');
    await expect(log.append(0, frame(0, 'x'), known)).rejects.toMatchObject({
      code: 'SPOOL_FULL',
      retryAfterMs: expect.any(Number),
    });
    expect(log.length).toBe(0);
    rmSync(directory);
    directory = mkdtempSync(join(tmpdir(), 'csc-output-'));
  });

  it('can be waited for until it is on disk', async () => {
    const log = await open();
    await log.sync();
    await log.append(0, frame(0, 'x'), known);
    await log.sync();
    await log.sync();
    expect(readFileSync(path)).toEqual(frame(0, 'x'));
  });

  it('is on disk only where its name is', async () => {
    const log = await open();
    await log.append(0, frame(0, 'x'), known);
    rmSync(directory, { recursive: true });
    await expect(log.sync()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    directory = mkdtempSync(join(tmpdir(), 'csc-output-'));
  });
});

describe('opening again', () => {
  it('goes on where the streams were', async () => {
    const first = await open();
    const begin = Buffer.concat([frame(0, 'one'), frame(0, 'err', { stream: 2 })]);
    await first.append(0, begin, known);
    await first.close();
    const log = await open();
    expect(log.length).toBe(begin.length);
    await expect(log.append(begin.length, frame(0, 'x'), known)).rejects.toEqual(refused);
    await log.append(begin.length, frame(3, 'two'), known);
    expect(await readAll(log)).toEqual(Buffer.concat([begin, frame(3, 'two')]));
  });

  it.each([
    ['half a frame', frame(3, 'two').subarray(0, 4)],
    ['zeros, as after a power cut', Buffer.alloc(100)],
    ['a frame of what was never there', frame(99, 'x')],
  ])('cuts off %s', async (_what, rest) => {
    writeFileSync(path, Buffer.concat([frame(0, 'one'), rest]));
    const log = await open();
    expect(log.length).toBe(frame(0, 'one').length);
    await log.append(log.length, frame(3, 'two'), known);
    expect(readFileSync(path)).toEqual(Buffer.concat([frame(0, 'one'), frame(3, 'two')]));
  });

  it('is read as it is where it is complete, and takes no more', async () => {
    const whole = Buffer.concat([frame(0, 'one'), frame(3, 'two')]);
    writeFileSync(path, whole);
    const log = await open('complete');
    expect(await readAll(log)).toEqual(whole);
    await expect(log.append(whole.length, frame(6, 'x'), known)).rejects.toEqual(refused);
  });

  it('ends a complete log with its last whole frame', async () => {
    writeFileSync(path, Buffer.concat([frame(0, 'one'), frame(3, 'two').subarray(0, 4)]));
    const log = await open('complete');
    expect(await readAll(log)).toEqual(frame(0, 'one'));
    expect(log.length).toBe(frame(0, 'one').length);
  });

  it('has no file before the first append', async () => {
    const log = await open();
    expect(log.length).toBe(0);
    expect(await readAll(log)).toEqual(Buffer.alloc(0));
    expect(() => readFileSync(path)).toThrow();
  });
});

describe('reading', () => {
  it('gives whole frames, however they lie in what is read at once', async () => {
    const log = await open();
    const size = 50_000;
    const frames = Array.from({ length: 40 }, (_, index) => frame(index * size, Buffer.alloc(size, index)));
    let length = 0;
    for (const it of frames) length = await log.append(length, it, known);
    let position = 0;
    for await (const piece of log.read(0)) {
      expect(piece.position).toBe(position);
      position += piece.bytes.length;
      expect(piece.bytes[0]).toBe(0x0a);
    }
    expect(position).toBe(length);
    expect(await readAll(log)).toEqual(Buffer.concat(frames));
  });

  it('takes a frame that is longer than what it reads at once', async () => {
    const commandId = 'c'.repeat(1_000_000);
    const log = await open();
    const long = frame(0, Buffer.alloc(maxFrameData), { commandId });
    await log.append(0, Buffer.concat([frame(0, 'x'), long]), {
      commandIds: new Set(['main', commandId]),
      limits,
    });
    expect(await readAll(log)).toEqual(Buffer.concat([frame(0, 'x'), long]));
  });

  it('is woken by an append, and where there is something else to see', async () => {
    const log = await open();
    const appended = log.grown();
    await log.append(0, frame(0, 'x'), known);
    await appended;
    const woken = log.grown();
    log.wake();
    await woken;
  });

  it('does not see what another process appends behind its back', async () => {
    const log = await open();
    await log.append(0, frame(0, 'x'), known);
    appendFileSync(path, frame(1, 'y'));
    expect(await readAll(log)).toEqual(frame(0, 'x'));
  });
});

describe('a reader of the end', () => {
  const size = 64 * 1024;
  let writtenAt = 0;
  const frames = (from: number, count: number, chunk: Partial<OutputChunk> = {}) =>
    Buffer.concat(
      Array.from({ length: count }, (_, index) =>
        frame(from + index * size, Buffer.alloc(size, 65 + index), { ...chunk, monotonicNs: writtenAt++ }),
      ),
    );

  /** 4 MiB of stdout after 2 MiB of stderr, a frame a nanosecond; resolves to the length of the log. */
  async function fill(log: OutputLog): Promise<number> {
    let length = 0;
    writtenAt = 0;
    for (let at = 0; at < 2; at++) {
      length = await log.append(length, frames(at * 16 * size, 16, { stream: OutputStream.STDERR }), known);
    }
    for (let at = 0; at < 4; at++) length = await log.append(length, frames(at * 16 * size, 16), known);
    return length;
  }

  const wanted = (stdout?: number, stderr?: number, sinceNs = 0): Wanted => ({
    from: (key) => (streamOfKey(key) === OutputStream.STDOUT ? stdout : stderr),
    sinceNs,
  });

  it.each<[string, Extent, boolean]>([
    ['while it grows', 'growing', false],
    ['after a restart', 'growing', true],
    ['once it is complete', 'complete', true],
  ])('does not look through all of the log %s', async (_, extent, isReopened) => {
    const first = await open();
    const length = await fill(first);
    if (isReopened) await first.close();
    const log = isReopened ? await open(extent) : first;
    const { position: late, next } = await log.positionFor(wanted(63 * size, 32 * size));
    expect(length - late).toBeLessThan(2.5 * 1024 * 1024);
    const whole = await readAll(log);
    expect(await readAll(log, late)).toEqual(whole.subarray(late));
    const before = [...readFrames(whole)].filter(({ begin }) => begin < late);
    expect(
      before.every(({ offset, stream }) => offset < (stream === OutputStream.STDOUT ? 63 : 32) * size),
    ).toBe(true);
    // A stream that is wanted from its beginning is.
    const begin = { position: 0, next: new Map() };
    expect(await log.positionFor(wanted(63 * size, 0))).toEqual(begin);
    expect(await log.positionFor(wanted(0, 0))).toEqual(begin);
    expect((await log.positionFor(wanted(0, 32 * size))).position).toBeLessThan(2.5 * 1024 * 1024);
    // Of which it says how far each stream is by then.
    expect([...next.values()].every((offset) => offset > 0)).toBe(true);
    // A stream that nobody wants holds nobody back, and neither does what was written too early.
    expect((await log.positionFor(wanted(63 * size, undefined))).position).toBe(late);
    expect(await log.positionFor(wanted(0, 0, 1))).toEqual(begin);
    const { position: since } = await log.positionFor(wanted(0, 0, 90));
    expect(length - since).toBeLessThan(2.5 * 1024 * 1024);
    expect(since).toBeLessThanOrEqual([...readFrames(whole)].find((it) => it.monotonicNs === 90)?.begin ?? 0);
  });

  it('is told where the log is forgotten meanwhile, and holds no descriptor of it', async () => {
    const log = await open();
    await fill(log);
    const reading = log.read(0);
    await reading.next();
    await log.forget();
    await expect(reading.next()).rejects.toEqual(expect.objectContaining({ code: 'OUTPUT_TRIMMED' }));
    const held = readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    });
    expect(held).not.toContain(path);
  });

  it('begins at the beginning where what is kept of it is wrong', async () => {
    await fill(await open());
    const kept = checkpointsOf(path);
    const lines = readFileSync(kept, 'utf8');
    const moved = lines.replace(/"position":(\d+)/g, (_, at) => `"position":${Number(at) - 1}`);
    for (const text of ['', '{', moved, lines.slice(0, 20), 'x'.repeat(100)]) {
      writeFileSync(kept, text);
      const log = await open('complete');
      expect((await log.positionFor(wanted(64 * size, 32 * size))).position).toBe(0);
    }
  });
});
