import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal, testProvider } from '@csc-fleet/test-kit/secrets/provider-contract';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDirectoryProvider } from './directory-provider.ts';

let directory: string;
beforeEach(() => {
  directory = makeDirectory();
});
afterEach(() => rmSync(directory, { recursive: true }));

function makeDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'csc-secrets-'));
}

function put(name: string, value: string | Buffer, mode = 0o400, where = directory): string {
  const path = join(where, name);
  rmSync(path, { force: true });
  writeFileSync(path, value);
  chmodSync(path, mode);
  return path;
}

/** Root gives the file away; anybody else passes for another user, which comes to the same. */
function disown(path: string): () => void {
  const own = process.geteuid?.() ?? 0;
  if (own === 0) chownSync(path, 65534, 65534);
  const euid = vi.spyOn(process, 'geteuid').mockReturnValue(own === 0 ? 0 : own + 1);
  return () => euid.mockRestore();
}

testProvider('a directory', async () => {
  const where = makeDirectory();
  return {
    provider: createDirectoryProvider(where),
    put: (name, value) => void put(name, value, 0o400, where),
    remove: (name) => rmSync(join(where, name)),
    close: () => rmSync(where, { recursive: true }),
  };
});

describe('createDirectoryProvider', () => {
  const read = (name = 'token'): Promise<Buffer> => createDirectoryProvider(directory).read(name);

  it.each([
    ['value\n', 'value'],
    ['value\n\n', 'value\n'],
    ['value\r\n', 'value'],
    ['\n', ''],
    ['a\nb', 'a\nb'],
  ])('takes one line end from the end of %j', async (content, value) => {
    put('token', content);
    expect((await read()).toString()).toBe(value);
  });

  it('gives any bytes', async () => {
    const content = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    put('token', content, 0o600);
    expect(await read()).toEqual(content);
  });

  it.each([0o440, 0o404, 0o600 | 0o040, 0o644, 0o666, 0o777, 0o500, 0o4400, 0o000])(
    'refuses a file of mode %o and says what to run',
    async (mode) => {
      const path = put('token', 'abcdefgh', mode);
      const { code, message } = await refusal(read());
      expect(code).toBe('SANDBOX_UNAVAILABLE');
      expect(message).toContain(`chmod 400 ${path}`);
      expect(message).not.toContain('abcdefgh');
    },
  );

  it.each([0o770, 0o707, 0o1777, 0o702])(
    'refuses a directory of mode %o and says what to run',
    async (mode) => {
      put('token', 'abcdefgh');
      chmodSync(directory, mode);
      expect(await refusal(read())).toEqual({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringContaining(`chmod go-w ${directory}`),
      });
    },
  );

  it('takes a directory that others may look into', async () => {
    put('token', 'abcdefgh');
    chmodSync(directory, 0o755);
    expect((await read()).toString()).toBe('abcdefgh');
  });

  it.each(['token', '.'])('refuses what belongs to another user (%s)', async (which) => {
    put('token', 'abcdefgh');
    const restore = disown(join(directory, which));
    const { code, message } = await refusal(read());
    restore();
    expect(code).toBe('SANDBOX_UNAVAILABLE');
    expect(message).toMatch(/belongs to user [1-9]\d*, .* run chown \d+ /);
  });

  it('follows no symbolic link, to wherever it leads', async () => {
    put('real', 'abcdefgh');
    symlinkSync('real', join(directory, 'token'));
    expect(await refusal(read())).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('symbolic link'),
    });
  });

  it('refuses what is no regular file, and does not wait for it', async () => {
    mkdirSync(join(directory, 'folder'), { mode: 0o700 });
    expect(spawnSync('mkfifo', ['-m', '400', join(directory, 'fifo')]).status).toBe(0);
    for (const name of ['folder', 'fifo']) {
      expect(await refusal(read(name))).toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringContaining('not a regular file'),
      });
    }
  });

  it('says that the directory is not there, or is none', async () => {
    put('token', 'abcdefgh');
    for (const path of [join(directory, 'nothing'), join(directory, 'token')]) {
      expect(await refusal(createDirectoryProvider(path).read('token'))).toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringContaining(path),
      });
    }
  });

  it('takes a directory that is put in place of another', async () => {
    const provider = createDirectoryProvider(directory);
    put('token', 'first value');
    expect((await provider.read('token')).toString()).toBe('first value');
    renameSync(directory, `${directory}-old`);
    mkdirSync(directory, { mode: 0o700 });
    put('token', 'second value');
    expect((await provider.read('token')).toString()).toBe('second value');
    rmSync(`${directory}-old`, { recursive: true });
  });

  it('leaves no descriptor open, whatever happens', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    put('token', 'abcdefgh');
    put('open', 'abcdefgh', 0o644);
    await read();
    const before = count();
    for (let round = 0; round < 20; round += 1) {
      await read();
      await refusal(read('open'));
      await refusal(read('nothing'));
    }
    expect(count()).toBe(before);
  });
});
