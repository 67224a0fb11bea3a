import { describe, expect, it } from 'vitest';
import { defaultSizes, planSandbox, scopeDescriptors } from './plan.ts';
import { describeLocal, describeSandbox, sandboxProfileId } from './profile.ts';
import { makeFacts, makeScopes } from './testing.ts';

const scopes = makeScopes({
  binds: [{ fd: 20, source: '/w', destination: '/w', writable: true }],
  cwd: '/w',
});
const command = { environment: {} };

describe('planSandbox', () => {
  it('drops to the job user only where the executor is another one', () => {
    expect(planSandbox(makeFacts(), scopes, command).credentials).toEqual({ uid: 65534, gid: 65534 });
    const own = makeFacts({ executorUid: 1234, jobUser: { uid: 1234, gid: 1234 } });
    expect(planSandbox(own, scopes, command)).not.toHaveProperty('credentials');
  });

  it('lets the granted environment go over its own', () => {
    const { environment } = planSandbox(makeFacts(), scopes, { environment: { LANG: 'de_DE.UTF-8', A: '' } });
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
});

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
      id({ environment: { A: '1' } }),
      id({ environment: {}, sizes: { ...defaultSizes, tmp: 1 } }),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('does not depend on the values of variables', () => {
    expect(id({ environment: { A: '1' } })).toBe(id({ environment: { A: '2' } }));
  });
});

describe('describeSandbox', () => {
  it('says what is enforced and by what', () => {
    expect(describeSandbox(planSandbox(makeFacts(), scopes, command), makeFacts())).toEqual({
      mechanism: 'bubblewrap',
      bwrap_version: '0.8.0',
      namespaces: ['user', 'ipc', 'pid', 'uts', 'cgroup', 'net'],
      limits: [
        { name: 'tmp_bytes', value: 268435456, mechanism: 'tmpfs' },
        { name: 'home_bytes', value: 268435456, mechanism: 'tmpfs' },
        { name: 'shm_bytes', value: 67108864, mechanism: 'tmpfs' },
      ],
      uid: 65534,
      gid: 65534,
    });
    expect(describeLocal()).toEqual({ mechanism: 'none', namespaces: [], limits: [] });
  });
});
