import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CscError } from '../errors/index.ts';
import { Commits, type CommitsOptions } from './commits.ts';
import { WriteAheadLog } from './write-ahead-log.ts';

describe('commits', () => {
  const never = new Promise<never>(() => undefined);
  let directory: string;
  let database: DatabaseSync;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'csc-commits-'));
  });
  afterEach(() => {
    database.close();
    rmSync(directory, { recursive: true });
  });

  const count = () => Number(database.prepare('SELECT count(*) AS count FROM found').get()?.['count']);
  const add = () => database.exec('INSERT INTO found VALUES (1)');

  function openCommits(options: Partial<CommitsOptions>, sync?: () => Promise<void>): Commits {
    const path = join(directory, 'commits.sqlite');
    database = new DatabaseSync(path);
    database.exec('PRAGMA journal_mode=WAL; CREATE TABLE found (it)');
    const log = new WriteAheadLog(database, path, { wasThere: false, sync });
    const toError = (cause: unknown) => new CscError('STORE_UNAVAILABLE', 'lost', { cause });
    return new Commits(database, log, { toError, onLost: () => undefined, busyTimeoutMs: 100, ...options });
  }

  it('are waited for from the moment on that they can be read', async () => {
    const commits = openCommits({}, () => never);
    const seen = await new Promise((resolve) => {
      void commits.run(() => {
        add();
        queueMicrotask(() => resolve([database.isTransaction, count(), commits.settled]));
      });
    });
    expect(seen).toEqual([false, 1, expect.any(Promise)]);
  });

  it('are not made again, and told to nobody, where what looks at them fails', async () => {
    const lost: CscError[] = [];
    const onCommitted = (): never => {
      throw new Error('the disk cannot be read');
    };
    const commits = openCommits({ onCommitted, onLost: (error) => lost.push(error) });
    const told = vi.fn();
    for (const one of [commits.run(add), commits.run(add)]) one.then(told, told);
    await expect.poll(() => lost.length).toBe(1);
    await commits.idle();
    expect([count(), lost.length, told.mock.calls]).toEqual([2, 1, []]);
  });
});
