import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CscError } from '../errors/index.ts';
import { unsoundExitCode } from './last-handler.ts';
import { Thread } from './thread.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-thread-'));
  const here = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  writeFileSync(
    join(directory, 'asked.mjs'),
    `import { CscError } from ${here('../errors/index.ts')};
    import { notify, serveThread } from ${here('./thread.ts')};
    serveThread((what, { question }) => {
      if (what === 'ends') process.exit(3);
      if (what === 'falls') setImmediate(() => { throw new Error('it fell'); });
      if (what === 'asks') return [question('first'), question('second')];
      if (what === 'says') notify(7, 'by itself');
      if (what === 'throws') {
        const cause = Object.assign(new Error('database or disk is full'), { errcode: 13 });
        throw new CscError('STORE_UNAVAILABLE', 'full', { cause, retryAfterMs: 1000 });
      }
      return what;
    });`,
  );
  writeFileSync(
    join(directory, 'asks.mjs'),
    `import { installLastHandler } from ${here('./last-handler.ts')};
    import { Thread } from ${here('./thread.ts')};
    const [what] = process.argv.slice(2);
    const log = (fields, message) => console.log(message, String(fields.error?.message), String(fields.error?.cause));
    installLastHandler({ log, stop: async () => {} });
    const thread = new Thread('test', './asked', import.meta.url);
    console.log('answered', await thread.ask(what));
    if (what === 'falls') await new Promise((resolve) => setTimeout(resolve, 60_000));`,
  );
});
afterAll(() => rmSync(directory, { recursive: true }));

const start = (): Thread => new Thread('test', './asked', pathToFileURL(join(directory, 'asks.mjs')).href);

describe('a thread', () => {
  it('answers in order, also where it has to ask back', async () => {
    const thread = start();
    const heard: unknown[] = [];
    thread.listen(7, (notice) => heard.push(notice));
    const answers = [
      thread.ask({ number: 1, bytes: new Uint8Array([1]), at: new Date(0) }),
      thread.ask('asks', (question) => `to ${question}`),
      thread.ask('says'),
    ];
    expect(await Promise.all(answers)).toEqual([
      { number: 1, bytes: new Uint8Array([1]), at: new Date(0) },
      ['to first', 'to second'],
      'says',
    ]);
    expect(heard).toEqual(['by itself']);
  });

  it('throws what is thrown in it, with its class, its members and what is underneath', async () => {
    const error = await start()
      .ask('throws')
      .catch((it: unknown) => it);
    expect(error).toBeInstanceOf(CscError);
    const cause = expect.objectContaining({ message: 'database or disk is full', errcode: 13 });
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', message: 'full', retryAfterMs: 1000, cause });
  });

  it('keeps no process alive that asks it for nothing', () => {
    const { status, stdout } = spawnSync(process.execPath, [join(directory, 'asks.mjs'), 'x']);
    expect([status, stdout.toString()]).toEqual([0, 'answered x\n']);
  });

  it.each([
    ['ends', 'it ended with 3'],
    ['falls', 'Error: it fell'],
  ])('takes its process with it where it %s, in words', (what, why) => {
    const { status, stdout } = spawnSync(process.execPath, [join(directory, 'asks.mjs'), what]);
    expect(status).toBe(unsoundExitCode);
    expect(stdout.toString()).toMatch(/nobody caught the thread of the test has ended/);
    expect(stdout.toString()).toContain(why);
  });
});
