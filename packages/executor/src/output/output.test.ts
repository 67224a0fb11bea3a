import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { OutputStream } from '@csc-fleet/common/messages';
import { encodeFrameHead, type Frame, readFrames } from '@csc-fleet/common/output-log';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMask } from '../secrets/index.ts';
import { LogFile } from './log-file.ts';
import type { OutputSpool } from './spool.ts';
import { SpoolDirectory } from './spool-directory.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-output-'));
});

const opened: OutputSpool[] = [];

afterEach(async () => {
  for (const spool of opened.splice(0)) await spool.close();
  rmSync(directory, { recursive: true });
});

function keep(spool: OutputSpool): OutputSpool {
  opened.push(spool);
  return spool;
}

const caps = { stdout: 1000, stderr: 100 };
const unexpected = (error: unknown): never => {
  throw error;
};

function sha256(data: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

function decode(bytes: Uint8Array): Frame[] {
  return [...readFrames(bytes)];
}

describe('a spool', () => {
  const open = (limits = caps, onFailure = unexpected) =>
    keep(new SpoolDirectory(directory, 2 ** 30).open('execution', limits, onFailure));

  it('keeps what two streams of two commands say, hashed each and together', async () => {
    const spool = open();
    await spool.capture('one', 'stdout', Readable.from([Buffer.from('abc'), Buffer.from('def')]));
    await spool.capture('one', 'stderr', Readable.from([Buffer.from('oops')]));
    await spool.capture('two', 'stdout', Readable.from([Buffer.from('ghi')]));
    await spool.end();
    expect(spool.digest('one', 'stdout')).toEqual({ sha256: sha256('abcdef'), length: 6, truncated: false });
    expect(spool.digest('two', 'stdout')).toEqual({ sha256: sha256('ghi'), length: 3, truncated: false });
    expect(spool.digest('two', 'stderr')).toEqual({ sha256: sha256(''), length: 0, truncated: false });
    expect(spool.total('stdout')).toEqual({ sha256: sha256('abcdefghi'), length: 9, truncated: false });
    expect(spool.total('stderr').sha256).toBe(sha256('oops'));
    const chunks = decode(await spool.read(0, 4096));
    expect(spool.length).toBe((await spool.read(0, 4096)).length);
    const second = chunks.filter(({ commandId }) => commandId === 'two');
    expect(second.map(({ offset, data }) => [offset, String(data)])).toEqual([[0, 'ghi']]);
  });

  it('gives back each chunk once, when nobody reads it any more', async () => {
    const spool = open({ stdout: 2 ** 20, stderr: 0 });
    const texts = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(50_000));
    const given: string[] = [];
    const source = Object.assign(Readable.from(texts.map((it) => Buffer.from(it))), {
      recycle: (chunk: Buffer) => {
        given.push(String(chunk.subarray(0, 1)));
        chunk.fill('x');
      },
    });
    await spool.capture('main', 'stdout', source);
    await spool.end();
    expect(given).toEqual(['a', 'b', 'c', 'd']);
    expect(spool.total('stdout').sha256).toBe(sha256(texts.join('')));
    const kept = decode(await spool.read(0, 2 ** 20)).map(({ data }) => String(data));
    expect(kept.join('')).toBe(texts.join(''));
  });

  it('is read from anywhere without being read whole: a gate says where to go on', async () => {
    const spool = open({ stdout: 2 ** 24, stderr: 2 ** 24 });
    await spool.capture('one', 'stdout', Readable.from([Buffer.alloc(9 << 20, 0x0a)]));
    await spool.end();
    const allocate = vi.spyOn(Buffer, 'allocUnsafeSlow');
    // Within a frame whose bytes look like the beginning of one that has no end.
    for (const offset of [1, 70_000, spool.length - 1]) await spool.read(offset, 1000);
    const sizes = allocate.mock.calls.map(([size]) => size);
    expect(Math.max(...sizes)).toBeLessThan(3 << 20);
    allocate.mockRestore();
  });

  it('holds a job back that writes byte by byte under a long command id', async () => {
    const spool = open({ stdout: 2 ** 24, stderr: 2 ** 24 });
    const id = 'x'.repeat(100_000);
    const append = vi.spyOn(LogFile.prototype, 'append');
    const both = (['stdout', 'stderr'] as const).map((stream) =>
      spool.capture(id, stream, Readable.from(Array.from({ length: 200 }, () => Buffer.from('x')))),
    );
    await Promise.all(both);
    await spool.end();
    expect(spool.digest(id, 'stdout').length).toBe(200);
    const written = append.mock.calls.map(([buffers]) =>
      buffers.reduce((sum, { length }) => sum + length, 0),
    );
    expect(Math.max(...written)).toBeLessThan(8 << 20);
    append.mockRestore();
  });

  it('makes no file where there is no output', async () => {
    const spool = open();
    await spool.capture('one', 'stdout', Readable.from([]));
    await spool.end();
    expect(spool.length).toBe(0);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('reads on and drops what is over the cap, and says so', async () => {
    const spool = open();
    const data = randomBytes(5000);
    await spool.capture(
      'one',
      'stdout',
      Readable.from([data.subarray(0, 990), data.subarray(990), randomBytes(9)]),
    );
    await spool.capture('two', 'stdout', Readable.from([Buffer.from('late')]));
    await spool.capture('two', 'stderr', Readable.from([Buffer.from('in time')]));
    await spool.end();
    expect(spool.digest('one', 'stdout')).toEqual({
      sha256: sha256(data.subarray(0, 1000)),
      length: 1000,
      truncated: true,
    });
    expect(spool.digest('two', 'stdout')).toEqual({ sha256: sha256(''), length: 0, truncated: true });
    expect(spool.digest('two', 'stderr').truncated).toBe(false);
    expect(spool.total('stdout').truncated).toBe(true);
  });

  it('takes just the cap without calling it truncated', async () => {
    const spool = open();
    await spool.capture('one', 'stdout', Readable.from([randomBytes(1000)]));
    await spool.end();
    expect(spool.total('stdout')).toMatchObject({ length: 1000, truncated: false });
  });

  it('does not let byte-by-byte output fill the disk with frame heads', async () => {
    const spool = open({ stdout: 100_000, stderr: 100_000 });
    const byte = Buffer.from('x');
    const id = 'c'.repeat(2000);
    const alternating = async (stream: 'stdout' | 'stderr') =>
      spool.capture(
        id,
        stream,
        Readable.from(
          (async function* () {
            for (let count = 0; count < 2000; count += 1) {
              yield byte;
              await spool.settle();
            }
          })(),
        ),
      );
    await Promise.all([alternating('stdout'), alternating('stderr')]);
    await spool.end();
    expect(spool.length).toBeLessThan(2 * 200_000 + 2 * 1024 * 1024);
    expect(spool.total('stdout').truncated).toBe(true);
  });

  it('counts a stream that breaks off as truncated', async () => {
    const spool = open();
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('half');
        throw new Error('gone');
      })(),
    );
    await spool.capture('one', 'stdout', broken);
    await spool.end();
    expect(spool.digest('one', 'stdout')).toEqual({ sha256: sha256('half'), length: 4, truncated: true });
  });

  it('says when the disk refuses, keeps reading, and hashes only what the log holds', async () => {
    const failures: unknown[] = [];
    const spool = new SpoolDirectory(join(directory, 'gone'), 2 ** 30).open('execution', caps, (error) =>
      failures.push(error),
    );
    rmSync(join(directory, 'gone'), { recursive: true });
    await spool.capture(
      'one',
      'stdout',
      Readable.from([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')]),
    );
    await spool.end();
    expect(failures).toHaveLength(1);
    expect(spool.digest('one', 'stdout')).toEqual({ sha256: sha256(''), length: 0, truncated: true });
    expect(spool.length).toBe(0);
  });

  it('holds little more than a mebibyte of a line that does not end, masked or not', async () => {
    const total = 32 * 1024 * 1024;
    const block = Buffer.alloc(64 * 1024, 'a');
    const secret = new Map([['token', Buffer.from('a-secret-that-is-long-enough')]]);
    for (const filter of [undefined, createMask(secret).stream()]) {
      const spool = keep(
        new SpoolDirectory(join(directory, String(filter !== undefined)), 2 ** 30).open(
          'execution',
          { stdout: total, stderr: 0 },
          unexpected,
        ),
      );
      let most = 0;
      const source = Readable.from(
        (function* () {
          for (let sent = 0; sent < total; sent += block.length) {
            most = Math.max(most, sent - spool.digest('one', 'stdout').length);
            yield Buffer.from(block);
          }
        })(),
        { highWaterMark: 2 },
      );
      await spool.capture('one', 'stdout', source, filter);
      await spool.end();
      expect(spool.total('stdout')).toMatchObject({ length: total, truncated: false });
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(1024 * 1024 + 5 * block.length);
      const last = decode(await spool.read(0, 1)).at(-1);
      expect(block.equals(last?.data ?? block.subarray(1))).toBe(true);
    }
  });
});

describe('the spool directory', () => {
  it('refuses what might not fit, and takes it once there is room', async () => {
    const spools = new SpoolDirectory(directory, 2000);
    const spool = spools.open('a', caps, unexpected);
    expect(() => spools.open('b', caps, unexpected)).toThrow(expect.objectContaining({ code: 'SPOOL_FULL' }));
    spools.settle(spool);
    spools.open('b', caps, unexpected);
  });

  it('refuses what it could not keep the first byte of, and takes it once its directory is back', () => {
    const gone = join(directory, 'gone');
    const spools = new SpoolDirectory(gone, 2000);
    rmSync(gone, { recursive: true });
    const refused = {
      code: 'SPOOL_FULL',
      message: expect.stringContaining(`${gone} of this host: its directory is not there`),
    };
    expect(() => spools.open('a', caps, unexpected)).toThrow(expect.objectContaining(refused));
    mkdirSync(gone);
    spools.open('a', caps, unexpected);
  });

  it('counts what an execution has by now, whenever an earlier log of it is released', () => {
    const spools = new SpoolDirectory(directory, 4000);
    const earlier = spools.open('a', caps, unexpected);
    spools.open('a', caps, unexpected);
    const taken = spools.takenBytes;
    spools.release(earlier);
    expect(spools.takenBytes).toBe(taken);
  });

  it('keeps execution ids out of paths', async () => {
    const spools = new SpoolDirectory(join(directory, 'spool'), 2000);
    const spool = spools.open('../../escape', caps, unexpected);
    await spool.capture('one', 'stdout', Readable.from([Buffer.from('x')]));
    await spool.end();
    await spool.close();
    expect(readdirSync(directory)).toEqual(['spool']);
    expect(readdirSync(join(directory, 'spool'))).toHaveLength(1);
    await spools.remove('../../escape');
    expect(readdirSync(join(directory, 'spool'))).toEqual([]);
  });

  it('reads what a dead process left, up to the last whole frame', async () => {
    const spools = new SpoolDirectory(directory, 2000);
    const spool = spools.open('a', caps, unexpected);
    await spool.capture('one', 'stdout', Readable.from([Buffer.from('abc')]));
    await spool.capture('one', 'stderr', Readable.from([Buffer.from('def')]));
    await spool.end();
    await spool.close();
    const [name = ''] = readdirSync(directory);
    const torn = { commandId: 'one', stream: OutputStream.STDOUT, offset: 3, monotonicNs: 9 };
    const half = encodeFrameHead(torn, [Buffer.alloc(50)]);
    appendFileSync(join(directory, name), Buffer.concat([half, Buffer.from('torn')]));
    const content = await spools.read('a');
    expect(content.length).toBe(spool.length);
    expect(content.digest('stdout', 'one')).toMatchObject({ sha256: sha256('abc'), length: 3 });
    expect(content.digest('stderr')).toMatchObject({ sha256: sha256('def'), length: 3 });
    expect(content.digest('stdout', 'two')).toMatchObject({ sha256: sha256(''), length: 0 });
    const log = spools.reopen('a', content.length);
    expect(Buffer.from(await log.read(0, 4096))).toEqual(
      readFileSync(join(directory, name)).subarray(0, content.length),
    );
    await log.close();
  });

  it('reads no data that was not written, where a frame that was cut goes on with something else', async () => {
    const spools = new SpoolDirectory(directory, 2000);
    const spool = spools.open('a', caps, unexpected);
    await spool.capture('one', 'stdout', Readable.from([Buffer.from('abc')]));
    await spool.capture('one', 'stderr', Readable.from([Buffer.from('defghi')]));
    await spool.end();
    await spool.close();
    const path = join(directory, readdirSync(directory)[0] ?? '');
    const [{ end: whole } = { end: 0 }] = decode(readFileSync(path));
    // As a power cut leaves it: the file has its length, and its last page never came to the disk.
    truncateSync(path, spool.length - 3);
    appendFileSync(path, 'xyz');
    const content = await spools.read('a');
    expect(content).toMatchObject({ length: whole, unreadable: { bytes: spool.length - whole } });
    expect(content.digest('stderr')).toMatchObject({ sha256: sha256(''), length: 0 });
  });

  it('knows nothing of an execution without output', async () => {
    const content = await new SpoolDirectory(directory, 2000).read('none');
    expect(content.length).toBe(0);
    expect(content.digest('stdout').sha256).toBe(sha256(''));
  });

  it('deletes the logs of executions that are over', async () => {
    const spools = new SpoolDirectory(directory, 2 ** 30);
    for (const id of ['kept', 'stale']) {
      const spool = spools.open(id, caps, unexpected);
      await spool.capture('one', 'stdout', Readable.from([Buffer.from(id)]));
      await spool.end();
      await spool.close();
    }
    await spools.sweep(() => ['kept']);
    const [name = ''] = readdirSync(directory);
    expect(readdirSync(directory)).toHaveLength(1);
    expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
    expect((await spools.read('kept')).digest('stdout').sha256).toBe(sha256('kept'));
  });
});
