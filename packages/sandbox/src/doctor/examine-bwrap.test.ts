import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir, release } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { requireChecks } from '../host/check.ts';
import { askBwrap, examineMode, examineOptions, parseOptions, untold, whyCutOff } from './examine-bwrap.ts';

describe('askBwrap', () => {
  it('finds the installed bwrap fit', async () => {
    const { version, checks } = await askBwrap('/usr/bin/bwrap');
    expect(version).toMatch(/^\d+\.\d+/);
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual([
      ['bwrap', true],
      ['bwrap-not-setuid', true],
      ['bwrap-options', true],
    ]);
  });

  it('says what to do where there is none', async () => {
    const { checks } = await askBwrap('/proc/none/bwrap');
    expect(checks).toMatchObject([
      { name: 'bwrap', ok: false, remedy: expect.stringContaining('apt-get install') },
    ]);
    expect(() => requireChecks(checks)).toThrow(expect.objectContaining({ code: 'SANDBOX_UNAVAILABLE' }));
  });

  it.each([
    ['was ended by SIGKILL', { signal: 'SIGKILL' }],
    ['could not be started for want of file descriptors (EMFILE)', { code: 'EMFILE' }],
  ])('knows nothing of one that %s, and does not say that it is to be installed', (why, how) => {
    expect(whyCutOff(Object.assign(new Error('no'), how))).toBe(why);
    expect(whyCutOff(Object.assign(new Error('no'), { code: 1 }))).toBeUndefined();
    const { detail, remedy } = untold('bwrap', 'it runs', why);
    expect([detail.includes(why), remedy?.includes('install')]).toEqual([true, false]);
  });

  it('says nothing of the installation where it was killed', async () => {
    // Below nothing that others can change.
    const directory = mkdtempSync(join(process.getuid?.() === 0 ? '/run' : homedir(), 'csc-bwrap-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'bwrap');
    writeFileSync(path, '#!/bin/sh\nkill -9 $$\n', { mode: 0o755 });
    const [check] = (await askBwrap(path)).checks;
    expect(check).toMatchObject({ ok: false, detail: expect.stringMatching(/not known.*SIGKILL/) });
  });

  it('refuses a program that does not answer', async () => {
    expect((await askBwrap('/usr/bin/false')).checks).toMatchObject([{ name: 'bwrap', ok: false }]);
  });
});

describe('askBwrap with a directory that keeps what was said', () => {
  const isRoot = process.getuid?.() === 0;
  const root = (): string => {
    // Below nothing that others can change.
    const directory = mkdtempSync(join(isRoot ? '/run' : homedir(), 'csc-bwrap-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    return directory;
  };
  const write = (path: string, version: string): void =>
    writeFileSync(path, `#!/bin/sh\necho "$0 $1" >> ${path}.asked\necho "bubblewrap ${version}"\n`, {
      mode: 0o755,
    });
  const setUp = () => {
    const directory = root();
    const [path, kept] = [join(directory, 'bwrap'), join(directory, 'kept')];
    write(path, '1.0');
    const file = join(kept, 'bwrap.json');
    const ask = async () => (await askBwrap(path, kept)).version;
    const asked = (): number => readFileSync(`${path}.asked`, 'utf8').split('\n').length - 1;
    return { path, kept, file, ask, asked };
  };

  it('starts it once, and again where the file or the kernel is another', async () => {
    const { path, file, ask, asked } = setUp();
    expect([await ask(), await ask(), asked()]).toEqual(['1.0', '1.0', 2]);
    write(path, '2.0');
    expect([await ask(), asked()]).toEqual(['2.0', 4]);
    // Written in the very same size, and its mtime set back.
    const { atime, mtime } = statSync(path);
    write(path, '3.0');
    utimesSync(path, atime, mtime);
    expect([await ask(), asked()]).toEqual(['3.0', 6]);
    writeFileSync(file, readFileSync(file, 'utf8').replace(` ${release()} `, ' 1.2.3 '));
    expect([await ask(), asked()]).toEqual(['3.0', 8]);
  });

  it('believes nothing that somebody else could have written', async () => {
    const { kept, file, ask, asked } = setUp();
    await ask();
    const [good, lie] = [readFileSync(file, 'utf8'), readFileSync(file, 'utf8').replace('1.0', '9.9')];
    const elsewhere = join(kept, 'elsewhere');
    const attacks: readonly (() => void)[] = [
      () => writeFileSync(file, lie.slice(0, -5)),
      () => writeFileSync(file, JSON.stringify([lie])),
      () => chmodSync(file, 0o666),
      () => chmodSync(kept, 0o777),
      () => {
        writeFileSync(elsewhere, lie);
        rmSync(file);
        symlinkSync(elsewhere, file);
      },
      ...(isRoot ? [() => chownSync(file, 65534, 65534), () => chownSync(kept, 65534, 65534)] : []),
    ];
    for (const attack of attacks) {
      rmSync(file, { force: true });
      writeFileSync(file, good, { mode: 0o600 });
      const before = asked();
      writeFileSync(file, lie);
      // What is taken as it is: the lie is well-formed.
      expect([await ask(), asked()]).toEqual(['9.9', before]);
      attack();
      expect([await ask(), asked()]).toEqual(['1.0', before + 2]);
      chmodSync(kept, 0o700);
      if (isRoot) chownSync(kept, 0, 0);
    }
  });

  it('works where nothing can be kept', async () => {
    const { path } = setUp();
    expect((await askBwrap(path, '/proc/nowhere/csc')).version).toBe('1.0');
  });
});

describe('examineMode', () => {
  it('refuses setuid and setgid', () => {
    expect(examineMode('/usr/bin/bwrap', 0o100755).ok).toBe(true);
    expect(examineMode('/usr/bin/bwrap', 0o104755).ok).toBe(false);
    expect(examineMode('/usr/bin/bwrap', 0o102755).ok).toBe(false);
  });
});

describe('examineOptions', () => {
  it('names what an older bwrap lacks', () => {
    const help =
      '    --args FD      Parse NUL-separated args\n    --perms OCTAL   Set permissions\n    --bind SRC DEST\n';
    expect([...parseOptions(help)]).toEqual(['args', 'perms', 'bind']);
    expect(examineOptions('/usr/bin/bwrap', parseOptions(help))).toMatchObject({
      ok: false,
      detail: expect.stringContaining('--bind-fd'),
    });
  });
});
