import { makeCommand, makeFacts, makeScopes, testLimits } from '@csc-fleet/test-kit/sandbox/plan';
import { describe, expect, it } from 'vitest';
import { describeLocal, describeSandbox, sandboxProfileId } from './describe.ts';
import { planSandbox, type SandboxPlan, scopeDescriptors } from './plan.ts';

const scopes = makeScopes({
  binds: [{ fd: 20, source: '/w', destination: '/w', writable: true }],
  cwd: '/w',
});
const command = makeCommand();

describe('planSandbox', () => {
  it('drops to the job user only where the executor is another one', () => {
    expect(planSandbox(makeFacts(), scopes, command).credentials).toEqual({ uid: 65534, gid: 65534 });
    const own = makeFacts({ executorUid: 1234, jobUser: { uid: 1234, gid: 1234 } });
    expect(planSandbox(own, scopes, command)).not.toHaveProperty('credentials');
  });

  it('lets the granted environment go over its own', () => {
    const { environment } = planSandbox(
      makeFacts(),
      scopes,
      makeCommand({ environment: { LANG: 'de_DE.UTF-8', A: '' } }),
    );
    expect(environment).toMatchObject({ LANG: 'de_DE.UTF-8', A: '', HOME: '/home/user' });
  });

  it('mounts nothing but remounts after the scopes', () => {
    const { mounts } = planSandbox(makeFacts(), scopes, command);
    const last = mounts.findLastIndex(({ kind }) => kind === 'scope');
    expect(mounts.slice(last + 1).map(({ kind }) => kind)).toEqual([
      'read_only',
      'read_only',
      'read_only',
      'read_only',
    ]);
  });

  it('shows real system directories where /usr is not merged', () => {
    const facts = makeFacts({ systemLinks: [], systemDirectories: ['/bin'] });
    expect(planSandbox(facts, scopes, command).mounts).toContainEqual({
      kind: 'host',
      source: '/bin',
      destination: '/bin',
    });
  });

  it('names the descriptors as the scopes do', () => {
    const { mounts } = planSandbox(makeFacts(), scopes, command);
    const [name] = scopeDescriptors(scopes).keys();
    expect(mounts).toContainEqual({ kind: 'scope', descriptor: name, destination: '/w', writable: true });
  });

  it('has a network of its own for everybody but who has the host’s', () => {
    const full = planSandbox(makeFacts(), scopes, makeCommand({ network: 'full' }));
    expect(full.namespaces).toEqual(['user', 'ipc', 'pid', 'uts', 'cgroup']);
    expect(full.mounts).toContainEqual({
      kind: 'host',
      source: '/etc/resolv.conf',
      destination: '/etc/resolv.conf',
    });
    for (const network of ['deny', 'allowlisted'] as const) {
      const plan = planSandbox(makeFacts(), scopes, makeCommand({ network }));
      expect(plan.namespaces).toContain('net');
      expect(plan.mounts.map(({ destination }) => destination)).not.toContain('/etc/resolv.conf');
    }
  });

  it('keeps an empty directory read-only that lies in a private one', () => {
    const { mounts } = planSandbox(makeFacts(), makeScopes({ directories: ['/srv/a', '/tmp/w'] }), command);
    expect(mounts).toContainEqual({ kind: 'directory', destination: '/srv/a', mode: 0o755 });
    expect(mounts).toContainEqual({ kind: 'tmpfs', destination: '/tmp/w', mode: 0o755, bytes: 4096 });
    expect(mounts).toContainEqual({ kind: 'read_only', destination: '/tmp/w' });
  });

  it('limits processes by rlimit only where there is no cgroup', () => {
    const without = planSandbox(makeFacts({ cgroups: 'none' }), scopes, command);
    expect(without).not.toHaveProperty('cgroup');
    expect(without.rlimits).toMatchObject({ nproc: 200 });
    expect(planSandbox(makeFacts(), scopes, command).rlimits).not.toHaveProperty('nproc');
  });
});

type Leaf = string | number | boolean;
const isLeaf = (value: unknown): value is Leaf => typeof value !== 'object';
const changeOf = (value: Leaf): Leaf =>
  typeof value === 'string' ? `${value}x` : typeof value === 'number' ? value + 1 : !value;

describe('sandboxProfileId', () => {
  const id = (changes: Parameters<typeof planSandbox>[2], of = scopes): string =>
    sandboxProfileId(planSandbox(makeFacts(), of, changes));

  it('is the same for the same sandbox, whatever the descriptors are', () => {
    const reopened = makeScopes({ ...scopes, binds: scopes.binds.map((bind) => ({ ...bind, fd: 99 })) });
    expect(id(command)).toMatch(/^[0-9a-f]{64}$/);
    expect(id(command, reopened)).toBe(id(command));
  });

  it('tells sandboxes apart', () => {
    const readOnly = makeScopes({
      ...scopes,
      binds: scopes.binds.map((bind) => ({ ...bind, writable: false })),
    });
    const ids = [
      id(command),
      id(command, readOnly),
      id(command, makeScopes({ ...scopes, cwd: '/' })),
      id(makeCommand({ environment: { A: '1' } })),
      id(makeCommand({ limits: { ...testLimits, tmp_bytes: 1 } })),
      id(makeCommand({ limits: { ...testLimits, memory_bytes: 1 } })),
      id(makeCommand({ network: 'allowlisted' })),
      id(makeCommand({ secrets: ['token'] })),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('changes with every single thing that the plan says, the host user and values of variables aside', () => {
    const plan = planSandbox(
      makeFacts(),
      scopes,
      makeCommand({ secrets: ['token'], environment: { A: '1' } }),
    );
    const keys: string[] = [];
    JSON.parse(JSON.stringify(plan), (key, value: unknown) => {
      if (isLeaf(value)) keys.push(key);
      return value;
    });
    const changeLeaf = (at: number): SandboxPlan => {
      let index = -1;
      return JSON.parse(JSON.stringify(plan), (_, value: unknown) => {
        if (isLeaf(value)) index += 1;
        return isLeaf(value) && index === at ? changeOf(value) : value;
      });
    };
    const ids = keys.map((_, at) => sandboxProfileId(changeLeaf(at)));
    const own = sandboxProfileId(plan);
    expect(keys.filter((_, at) => ids[at] === own)).toEqual([
      'uid',
      'gid',
      'HOME',
      'LANG',
      'PATH',
      'USER',
      'A',
    ]);
    expect(new Set(ids).size).toBe(ids.length - 6);
    expect(keys).toEqual(
      expect.arrayContaining([
        'bwrapVersion',
        'dieWithParent',
        'newSession',
        'disableUserns',
        'clearEnvironment',
      ]),
    );
    expect(sandboxProfileId({ ...plan, droppedCapabilities: [] })).not.toBe(own);
  });

  it('does not depend on the values of variables', () => {
    expect(id(makeCommand({ environment: { A: '1' } }))).toBe(id(makeCommand({ environment: { A: '2' } })));
  });
});

describe('describeSandbox', () => {
  it('says what is enforced and by what', () => {
    expect(describeSandbox(planSandbox(makeFacts(), scopes, command), makeFacts())).toEqual({
      mechanism: 'bubblewrap',
      bwrap_version: '0.8.0',
      namespaces: ['user', 'ipc', 'pid', 'uts', 'cgroup', 'net'],
      network: 'deny',
      cgroup: 'v1',
      seccomp_sha256: 'f'.repeat(64),
      limits: [
        { name: 'memory_bytes', value: 1073741824, mechanism: 'cgroup-v1 memory' },
        { name: 'processes', value: 200, mechanism: 'cgroup-v1 pids' },
        { name: 'cpu_millis', value: 2000, mechanism: 'cgroup-v1 cpu' },
        { name: 'core_bytes', value: 1, mechanism: 'rlimit' },
        { name: 'file_bytes', value: 1073741824, mechanism: 'rlimit' },
        { name: 'open_files', value: 1024, mechanism: 'rlimit' },
        { name: 'tmp_bytes', value: 268435456, mechanism: 'tmpfs' },
        { name: 'home_bytes', value: 268435456, mechanism: 'tmpfs' },
        { name: 'shm_bytes', value: 67108864, mechanism: 'tmpfs' },
        { name: 'write_bytes', value: 1073741824, mechanism: 'watch' },
        { name: 'write_files', value: 10000, mechanism: 'watch' },
      ],
      uid: 65534,
      user: 'nobody',
      gid: 65534,
    });
    expect(describeLocal()).toEqual({ mechanism: 'none', namespaces: [], limits: [] });
  });
});
