import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { examineProgramFile, examineTools } from '../host/programs.ts';
import { diagnose } from './doctor.ts';
import { probeHost } from './probe-host.ts';

const self = process.getuid?.() ?? -1;
let root: string;
beforeEach(() => {
  // Not below /tmp or /var/tmp, where everybody may write.
  root = mkdtempSync(join(self === 0 ? '/root' : (process.env['HOME'] ?? '/'), 'csc-programs-'));
  mkdirSync(join(root, 'bin'), { mode: 0o755 });
  copyFileSync('/usr/bin/bwrap', join(root, 'bin/bwrap'));
  chmodSync(join(root, 'bin/bwrap'), 0o755);
});
afterEach(() => rmSync(root, { recursive: true }));
const bwrap = () => join(root, 'bin/bwrap');

const tampering: readonly (readonly [string, () => void])[] = [
  ['it can be changed by everybody', () => chmodSync(bwrap(), 0o757)],
  ['it can be changed by its group', () => chmodSync(bwrap(), 0o775)],
  ['its directory can be changed by everybody', () => chmodSync(join(root, 'bin'), 0o777)],
  ['a directory further up can be changed by everybody, as /tmp can', () => chmodSync(root, 0o1777)],
  ...(self === 0
    ? ([
        ['it belongs to the job user', () => chownSync(bwrap(), 65534, 65534)],
        ['its directory belongs to the job user', () => chownSync(join(root, 'bin'), 65534, 65534)],
      ] as const)
    : []),
];

describe('bwrap', () => {
  it('is taken where nobody else can change it', async () => {
    expect((await probeHost({ bwrapPath: bwrap(), acceptRlimitsOnly: true })).bwrapPath).toBe(bwrap());
  });

  it.each(tampering)('is refused before it is started, where %s', async (_, tamper) => {
    tamper();
    await expect(probeHost({ bwrapPath: bwrap(), acceptRlimitsOnly: true })).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/chmod go-w|chown root/),
    });
    expect((await diagnose({ bwrapPath: bwrap() })).at(-1)).toMatchObject({ name: 'programs', ok: false });
  });

  it('is refused where a symlink on the way can be put elsewhere', () => {
    const open = join(root, 'open');
    mkdirSync(open);
    symlinkSync(bwrap(), join(open, 'bwrap'));
    symlinkSync(join(open, 'bwrap'), join(root, 'bin/link'));
    expect(examineProgramFile(join(root, 'bin/link'), self).ok).toBe(true);
    chmodSync(open, 0o777);
    expect(examineProgramFile(join(root, 'bin/link'), self)).toMatchObject({
      ok: false,
      remedy: `chmod go-w ${open}`,
    });
  });
});

it('the tools of this host are fit', () => {
  expect(examineTools(self)).toMatchObject({ ok: true });
});
