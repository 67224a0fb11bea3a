import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { jobUid } from '@csc-fleet/test-kit/fleet';
import { programFile } from '@csc-fleet/test-kit/programs';
import { probingConfig } from '@csc-fleet/test-kit/shared-fleet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Area, areas, type Finding, readFindings, readProbes, Stage } from './stage.ts';
import type { Weakening } from './weakenings.ts';

// A battery that passes everything proves nothing: here, what holds in the real sandbox has to fail.
let stage: Stage;
beforeAll(async () => {
  const path = programFile('weakened-executor');
  stage = await Stage.open({
    executors: [{ name: 'spoilt', config: probingConfig, program: { path, args: [] } }],
  });
}, 60_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

interface Failures {
  /** These fail on every host. */
  readonly must: readonly string[];
  /** These as well, depending on the host's kernel, its settings and its network. Others do not. */
  readonly may?: readonly string[];
}

const failures: Readonly<Record<Weakening, Partial<Record<Area, Failures>>>> = {
  'no-filter': {
    privilege: {
      must: [
        ...['init_privileges', 'filter_mode', 'looser_filter', 'forbidden_calls', 'families', 'trace'],
        ...['process_memory', 'keys', 'netlink', 'personality', 'x32', 'i386'].filter(isOfThisMachine),
      ],
      may: [
        'protocols',
        'io_uring',
        'userfaultfd',
        'memfd_secret',
        'af_vsock',
        'af_alg',
        'kernel_programs',
        'fanotify',
      ],
    },
    terminal: { must: ['tiocsti', 'tioclinux', 'line_discipline'] },
    namespaces: { must: ['setns', 'unshare'] },
    filesystem_read: { must: ['by_handle'] },
    filesystem_write: { must: ['setuid_file'], may: ['device_file'] },
  },
  'host-network': {
    network: {
      must: ['host_loopback', 'abstract_socket', 'connections'],
      may: ['host_loopback6', 'world', 'metadata', 'udp', 'names', 'interfaces', 'routes', 'low_port'],
    },
    namespaces: { must: ['distinct'] },
  },
  'host-ipc': { namespaces: { must: ['ipc', 'distinct'] } },
  'host-cgroups': { information: { must: ['cgroup'] } },
  'host-name': { namespaces: { must: ['hostname'] } },
  'whole-host': { filesystem_read: { must: ['root_listing'] }, information: { must: ['mounts'] } },
  'host-etc': {
    filesystem_read: { must: ['shadow', 'etc_listing'] },
    information: { must: ['mounts', 'accounts'] },
  },
  'host-homes': {
    filesystem_write: { must: ['private_places'] },
    filesystem_read: { must: [], may: ['homes'] },
  },
  'whole-workspace': {
    filesystem_read: {
      must: ['undeclared_sibling', 'workspace_listing', 'glob_siblings', 'symlink_outside'],
    },
    network: { must: ['path_socket'] },
  },
  'no-remounts': {
    filesystem_write: {
      must: ['write_root', 'write_system', 'write_dev', 'write_etc', 'write_cwd', 'write_beside', 'nameless'],
      may: ['planted_symlink', 'all_kernel_settings'],
    },
  },
  'no-masks': { information: { must: ['kernel_information'], may: ['hardware'] } },
  'stray-secrets': { information: { must: ['secrets'] } },
  'more-environment': { information: { must: ['environment'] }, network: { must: ['proxy_variables'] } },
  'no-limits': { information: { must: ['open_files', 'raise_limits'], may: ['core_dumps'] } },
  'host-root': {
    filesystem_read: { must: ['owner_only'], may: ['init_memory', 'kernel_files'] },
    namespaces: { must: ['host_uid'] },
  },
  'writable-scopes': {
    filesystem_write: {
      must: ['write_read_scope', 'write_glob', 'write_by_proc', 'write_by_memory', 'nameless'],
    },
  },
};

// Their probes hold without a look where there is no such ABI.
function isOfThisMachine(probe: string): boolean {
  return process.arch === 'x64' || !['x32', 'i386'].includes(probe);
}

describe.each(Object.entries(failures))('a recipe with %s', (weakening, byArea) => {
  it.each(Object.entries(byArea))(
    'fails these probes of %s and no others',
    async (area, { must, may = [] }) => {
      const { findings, stderr } = await stage.probe(area as Area, [weakening]);
      const failed = namesOf(area as Area, [...findings.values()]);
      expect(findings.size, stderr).toBe(readProbes(area as Area).length);
      expect(failed.filter((name) => !may.includes(name)).sort(), stderr).toEqual([...must].sort());
    },
  );
});

// What many a wrapper script does: everything read-only, and no more. The other one makes the job root in its namespace.
const naive = ['--die-with-parent', '--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc'];
const rootInside = [
  ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts'],
  ...['--uid', '0', '--gid', '0', '--cap-add', 'ALL', '--die-with-parent'],
  ...['--ro-bind', '/', '/', '--dev-bind', '/dev', '/dev', '--proc', '/proc'],
];

// Not through an executor: the options of these two are nothing that a plan can say.
function runBare(flags: readonly string[], area: Area): readonly Finding[] {
  const { workspace } = stage.fleet;
  const out = join(workspace, 'out');
  const script = join(workspace, 'probes', `${area}.py`);
  const root = openSync('/', 'r');
  try {
    const { stdout } = spawnSync(
      'bwrap',
      [...flags, '--bind', out, out, '--chdir', workspace, '/usr/bin/python3', script],
      {
        ...(process.getuid?.() === 0 ? { uid: jobUid, gid: jobUid } : {}),
        env: { PATH: process.env['PATH'], HOME: '/tmp', SOMEBODYS_TOKEN: 'abc' },
        encoding: 'utf8',
        // A directory of the host that somebody forgot to close.
        stdio: ['ignore', 'pipe', 'pipe', root],
      },
    );
    return readFindings(stdout);
  } finally {
    closeSync(root);
  }
}

describe.each([
  {
    recipe: 'a read-only root and no more',
    flags: naive,
    must: [
      ...[
        'inherited_descriptors',
        'root_listing',
        'shadow',
        'etc_listing',
        'undeclared_sibling',
        'glob_siblings',
      ],
      ...['symlink_outside', 'climb_by_descriptor', 'sysfs', 'workspace_listing', 'by_handle'],
      ...['setuid_file', 'write_dev', 'private_places'],
      ...[
        'unshare',
        'clone_user',
        'clone3_user',
        'setns',
        'processes',
        'init',
        'signal_host',
        'hostname',
        'ipc',
      ],
      ...['distinct', 'ask_host'],
      ...[
        'filter_mode',
        'forbidden_calls',
        'families',
        'trace',
        'process_memory',
        'keys',
        'netlink',
        'personality',
      ],
      ...['host_loopback', 'abstract_socket', 'path_socket', 'connections'],
      ...['tiocsti', 'tioclinux', 'line_discipline'],
      ...['descriptor_names', 'descriptor_files', 'init_places'],
      ...['environment', 'accounts', 'own_command_line', 'core_dumps', 'raise_limits'],
    ],
  },
  {
    recipe: 'a job that is root in its own namespace, and the devices of the host',
    flags: rootInside,
    must: [
      ...['capabilities', 'become_root', 'setuid_programs', 'gain_rights', 'init_privileges'],
      ...[
        'mount',
        'remount',
        'unmount',
        'new_mount_calls',
        'change_root',
        'set_hostname',
        'unshare',
        'setns',
      ],
      ...['devices', 'session', 'init_command_line', 'init_environment', 'chown_file', 'file_capabilities'],
    ],
  },
])('$recipe', ({ flags, must }) => {
  it('fails every kind of probe', () => {
    const failed = areas.flatMap((area) => namesOf(area, runBare(flags, area)));
    expect(failed).toEqual(expect.arrayContaining([...must]));
  });
});

// What a job should be able to do, what the kernel refuses by itself to whoever is not root on the host, and what a host
// need not have.
const heldTwice: Readonly<Record<Area, readonly string[]>> = {
  filesystem_read: ['declared_tree', 'other_roots', 'other_terminals', 'kernel_files', 'init_memory'],
  filesystem_write: [
    ...['write_scope', 'hard_link', 'hard_link_system', 'move_scope', 'remove_scope', 'exchange'],
    ...['running_programs', 'immutable', 'kernel_settings'],
  ],
  namespaces: ['uid_map'],
  privilege: [
    ...['no_new_privileges', 'groups', 'priorities', 'kernel_programs', 'af_alg', 'raw_sockets', 'clock'],
    ...['administration', 'fanotify', 'unknown_call'],
  ],
  network: ['names', 'own_loopback', 'closed_socket', 'change_interfaces', 'low_port'],
  terminal: ['dev_tty', 'standard_streams', 'consoles', 'own_terminal'],
  information: ['hardware', 'oom_score'],
};

it('every other probe was seen to fail', () => {
  const mayFail = (area: Area) => Object.values(failures).flatMap((byArea) => byArea[area]?.may ?? []);
  const never = areas.flatMap((area) =>
    readProbes(area).filter(
      ({ name }) =>
        !seenToFail.has(`${area}/${name}`) &&
        !heldTwice[area].includes(name) &&
        !mayFail(area).includes(name),
    ),
  );
  expect(never.map(({ area, name }) => `${area}/${name}`)).toEqual([]);
});

const seenToFail = new Set<string>();

function namesOf(area: Area, findings: readonly Finding[]): string[] {
  const names = findings.filter(({ held }) => !held).map(({ name }) => name);
  for (const name of names) seenToFail.add(`${area}/${name}`);
  return names;
}
