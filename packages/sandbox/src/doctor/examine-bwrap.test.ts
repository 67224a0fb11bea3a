import { describe, expect, it } from 'vitest';
import { requireChecks } from '../host/check.ts';
import { askBwrap, examineMode, examineOptions, parseOptions } from './examine-bwrap.ts';

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
