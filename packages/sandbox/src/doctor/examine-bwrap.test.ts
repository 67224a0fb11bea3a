import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
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
