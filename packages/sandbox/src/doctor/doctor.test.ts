import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { diagnose, requireHost } from './doctor.ts';
import { userNamespaceRemedy } from './user-namespace-remedy.ts';

describe('diagnose', () => {
  it('passes every check here, ending with a command in the whole sandbox', async () => {
    const checks = await diagnose();
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    const names = checks.map(({ name }) => name);
    const spaces = ['user', 'ipc', 'pid', 'uts', 'cgroup', 'net'].map((name) => `namespace-${name}`);
    const before = [
      'programs',
      'bwrap',
      'bwrap-not-setuid',
      'bwrap-options',
      'job-user',
      'user-drop',
      'rlimits',
      'pipes',
    ];
    expect(names).toEqual([...before, ...spaces, 'nested-namespaces', 'cgroups', 'seccomp', 'sandbox']);
  });

  it('names the first thing that is missing and what to do', async () => {
    expect(await diagnose({ bwrapPath: '/proc/none' })).toMatchObject([
      { name: 'programs', ok: true },
      { name: 'bwrap', ok: false },
    ]);
    const scratch = await diagnose({ scratchDirectory: '/proc/none' });
    expect(scratch.filter(({ ok }) => !ok)).toMatchObject([{ name: 'pipes', remedy: expect.any(String) }]);
    expect(scratch.map(({ name }) => name)).not.toContain('sandbox');
    expect((await diagnose({ runAs: 'csc-no-such-account' })).at(-1)).toMatchObject({
      name: 'job-user',
      ok: false,
    });
  });

  it('takes a probe that somebody ended for no answer', async () => {
    // Below nothing that others can change.
    const directory = mkdtempSync(join(process.getuid?.() === 0 ? '/run' : homedir(), 'csc-doctor-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const bwrapPath = join(directory, 'bwrap');
    const { bwrapPath: real } = await requireHost();
    // What tells of bwrap itself is the real one's.
    const script = `#!/bin/sh\ncase "$*" in *--unshare-*) kill -9 $$;; *) exec ${real} "$@";; esac\n`;
    writeFileSync(bwrapPath, script, { mode: 0o755 });
    chmodSync(directory, 0o755);
    const checks = await diagnose({ bwrapPath });
    const space = checks.find(({ name }) => name === 'namespace-pid');
    expect(space).toMatchObject({
      ok: false,
      detail: expect.stringContaining('not known whether a pid namespace'),
    });
    expect(space?.detail).toContain('SIGKILL');
    expect(JSON.stringify(checks)).not.toContain('no pid namespace');
  });

  it('is what a start depends on', async () => {
    expect((await requireHost()).bwrapVersion).toMatch(/^\d/);
    await expect(requireHost({ bwrapPath: '/proc/none' })).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
    });
  });
});

describe('userNamespaceRemedy', () => {
  const withSettings = (values: Record<string, number>) => userNamespaceRemedy((name) => values[name]);

  it('names the setting that closes them', () => {
    expect(withSettings({ 'kernel.unprivileged_userns_clone': 0 })).toContain('unprivileged_userns_clone=1');
    expect(withSettings({ 'user.max_user_namespaces': 0 })).toContain('max_user_namespaces=');
    expect(withSettings({ 'kernel.apparmor_restrict_unprivileged_userns': 1 })).toContain('AppArmor');
  });

  it('says where else to look', () => {
    const open = { 'kernel.unprivileged_userns_clone': 1, 'user.max_user_namespaces': 9 };
    expect(withSettings(open)).toContain('seccomp');
  });
});
