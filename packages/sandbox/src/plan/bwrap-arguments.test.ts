import { makeCommand, makeFacts, makeScopes } from '@csc-fleet/test-kit/sandbox/plan';
import { describe, expect, it } from 'vitest';
import { bwrapArguments, numberDescriptors } from './bwrap-arguments.ts';
import { planSandbox, type SandboxPlan } from './plan.ts';

const scopes = makeScopes({
  binds: [
    { fd: 77, source: '/workspace', destination: '/workspace', writable: false },
    { fd: 78, source: '/workspace/out', destination: '/workspace/out', writable: true },
  ],
  directories: ['/srv/empty'],
  links: [{ path: '/var/run', target: '/run' }],
  cwd: '/workspace',
});
const plan = planSandbox(
  makeFacts(),
  scopes,
  makeCommand({ environment: { CI: 'true' }, secrets: ['token'] }),
);

describe('bwrapArguments', () => {
  it('is the recipe, whole and in order', () => {
    expect(
      bwrapArguments(plan, numberDescriptors(plan)).join(' ').replaceAll(' --', '\n--').split('\n'),
    ).toEqual([
      '--block-fd 5',
      '--json-status-fd 4',
      '--add-seccomp-fd 6',
      '--die-with-parent',
      '--new-session',
      '--unshare-user',
      '--unshare-ipc',
      '--unshare-pid',
      '--unshare-uts',
      '--unshare-cgroup',
      '--unshare-net',
      '--disable-userns',
      '--assert-userns-disabled',
      '--cap-drop ALL',
      '--uid 1000',
      '--gid 1000',
      '--hostname sandbox',
      '--clearenv',
      '--setenv HOME /home/user',
      '--setenv LANG C.UTF-8',
      '--setenv PATH /usr/local/bin:/usr/bin:/bin',
      '--setenv USER user',
      '--setenv CI true',
      '--ro-bind /usr /usr',
      '--symlink usr/bin /bin',
      '--perms 0755',
      '--dir /etc',
      '--ro-bind /etc/ld.so.cache /etc/ld.so.cache',
      '--ro-bind-fd 7 /etc/.host',
      '--symlink .host/services /etc/services',
      '--perms 0444',
      '--file 8 /etc/passwd',
      '--perms 0444',
      '--file 9 /etc/group',
      '--perms 0444',
      '--file 10 /etc/hosts',
      '--perms 0444',
      '--file 11 /etc/nsswitch.conf',
      '--perms 0444',
      '--file 12 /etc/gitconfig',
      '--proc /proc',
      '--dev /dev',
      '--perms 0555',
      '--size 4096',
      '--tmpfs /proc/acpi',
      '--ro-bind /dev/null /proc/keys',
      '--perms 1777',
      '--size 268435456',
      '--tmpfs /tmp',
      '--symlink /tmp /var/tmp',
      '--perms 0700',
      '--size 268435456',
      '--tmpfs /home/user',
      '--perms 1777',
      '--size 67108864',
      '--tmpfs /dev/shm',
      '--perms 0700',
      '--dir /run/secrets',
      '--perms 0400',
      '--file 13 /run/secrets/token',
      '--perms 0755',
      '--dir /srv/empty',
      '--symlink /run /var/run',
      '--ro-bind-fd 14 /workspace',
      '--bind-fd 15 /workspace/out',
      '--remount-ro /proc/acpi',
      '--remount-ro /dev',
      '--remount-ro /proc',
      '--remount-ro /',
      '--chdir /workspace',
    ]);
  });

  it('adds nothing to what the plan says', () => {
    const bare: SandboxPlan = {
      ...plan,
      dieWithParent: false,
      newSession: false,
      disableUserns: false,
      clearEnvironment: false,
      droppedCapabilities: [],
      namespaces: [],
      environment: {},
      mounts: [],
      seccomp: { ...plan.seccomp, programs: 0 },
    };
    expect(bwrapArguments(bare, numberDescriptors(bare))).toEqual([
      ...['--block-fd', '5', '--json-status-fd', '4'],
      ...['--uid', '1000', '--gid', '1000', '--hostname', 'sandbox', '--chdir', '/workspace'],
    ]);
  });

  it('keeps a host path that is not a scope out of the arguments', () => {
    const elsewhere = makeScopes({
      binds: [{ fd: 9, source: '/elsewhere/a', destination: '/a', writable: false }],
    });
    const other = planSandbox(makeFacts(), elsewhere, makeCommand());
    expect(bwrapArguments(other, numberDescriptors(other)).join('\n')).not.toContain('/elsewhere');
  });

  it('does not split a value that looks like an option', () => {
    const odd = planSandbox(makeFacts(), scopes, makeCommand({ environment: { X: '--bind / /' } }));
    expect(bwrapArguments(odd, numberDescriptors(odd))).toContain('--bind / /');
  });
});

describe('numberDescriptors', () => {
  it('counts from 3 on', () => {
    const numbers = numberDescriptors(plan);
    expect([numbers.args, numbers.status, numbers.block]).toEqual([3, 4, 5]);
    expect(numbers.seccomp).toEqual([6]);
    expect([...numbers.mounts.values()]).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15]);
  });

  it('gives numbers that are taken first, so that bwrap closes them', () => {
    const numbers = numberDescriptors(plan, [251, 4]);
    expect([numbers.args, numbers.status, numbers.block]).toEqual([251, 4, 3]);
    const { args, status, block, seccomp, mounts } = numbers;
    expect(new Set([args, status, block, ...seccomp, ...mounts.values()]).size).toBe(13);
  });
});
