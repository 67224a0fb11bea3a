import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { cscBin } from '@csc-fleet/test-kit/process';
import { describe, expect, it, onTestFinished } from 'vitest';
import { diagnose, requireHost } from './doctor.ts';
import { shortageRemedy } from './shortage-remedy.ts';
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
      remedy: expect.stringMatching(/useradd --system .*, or to auto/),
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

describe('shortageRemedy', () => {
  const limits = () =>
    'Limit  Soft Limit  Hard Limit  Units\nMax processes             500        500        processes\n';

  it('names the limit that jobs are to have and this process may not give', () => {
    const rlimits = { core: 0, nproc: 1024, fsize: 5 };
    for (const text of [
      'csc-launcher: limit: Operation not permitted',
      'prlimit: failed to set the NPROC resource limit: Operation not permitted',
    ]) {
      const remedy = shortageRemedy({ text, rlimits }, limits);
      expect(remedy).toContain('limits.processes is 1024 and this process may have 500');
      expect(remedy).not.toContain('file_bytes');
    }
  });

  it('tells a shortage of processes from one of namespaces, and both from what is none', () => {
    const text = 'bwrap: Creating new namespace failed: Resource temporarily unavailable';
    expect(shortageRemedy({ text, namespace: 'pid' }, limits)).toMatch(/TasksMax.*RLIMIT_NPROC is 500/);
    const full = 'bwrap: Creating new namespace failed: No space left on device';
    expect(shortageRemedy({ text: full, namespace: 'pid' }, limits)).toContain('user.max_pid_namespaces');
    expect(shortageRemedy({ text: full }, limits)).toBeUndefined();
    const masked = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted";
    expect(shortageRemedy({ text: masked }, limits)).toBeUndefined();
  });

  it('names the descriptors where an executor has too few for a sandbox, whatever the kernel calls that', () => {
    const limits = (most: number) => () =>
      `Max open files            64                   ${most}                files\n`;
    for (const text of [
      'csc-launcher made no pipes',
      'the sandbox could not be started: EINVAL',
      'EMFILE: pipe',
    ]) {
      expect(shortageRemedy({ text }, limits(128))).toMatch(/128 file descriptors.*raise LimitNOFILE/);
      expect(shortageRemedy({ text }, limits(65_536))).toBeUndefined();
    }
  });
});

it('a process that may have too few descriptors for a sandbox fails at the start', async () => {
  const doctor = spawnSync('prlimit', ['--nofile=256:256', process.execPath, cscBin, 'doctor'], {
    encoding: 'utf8',
  });
  expect(doctor.status).not.toBe(0);
  expect(doctor.stdout + doctor.stderr).toMatch(/may have 256 file descriptors.*raise LimitNOFILE/);
});
