import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OutputStream } from './output-stream.ts';

describe('what comes out of a FIFO', () => {
  it('comes in memory that is used again, however slowly it is taken', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'csc-output-stream-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'fifo');
    execFileSync('mkfifo', [path]);
    const stream = new OutputStream(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    const bytes = 16 * 1024 * 1024;
    const writer = spawn('sh', ['-c', `head -c ${bytes} /dev/zero > '${path}'`]);
    const ended = once(writer, 'exit').then(() => stream.settle());
    const memory = new Set<ArrayBufferLike>();
    let seen = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      memory.add(chunk.buffer);
      seen += chunk.length;
      for (let turn = 0; turn < 3; turn += 1) await setImmediate();
      stream.recycle(chunk);
    }
    await ended;
    expect(seen).toBe(bytes);
    // The small one that each stream begins with, the one that is read into, and one that waits.
    expect(memory.size).toBeLessThanOrEqual(4);
  });
});
