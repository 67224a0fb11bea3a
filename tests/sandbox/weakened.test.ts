import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Area, probingConfig, Stage } from './stage.ts';
import type { Weakening } from './weakenings.ts';

// Each recipe lacks one thing, and these probes, at least, must say so: a battery that passes everything proves nothing.
const mustFail: Readonly<Record<Weakening, { readonly area: Area; readonly probes: readonly string[] }>> = {
  'no-filter': {
    area: 'privilege',
    probes: ['filter_mode', 'trace', 'keys', 'netlink', 'personality', 'process_memory', 'i386'],
  },
  'host-network': {
    area: 'network',
    probes: ['host_loopback', 'abstract_socket', 'interfaces', 'connections'],
  },
  'host-ipc': { area: 'namespaces', probes: ['ipc'] },
  'host-cgroups': { area: 'information', probes: ['cgroup'] },
  'whole-host': { area: 'filesystem_read', probes: ['root_listing'] },
  'host-etc': { area: 'filesystem_read', probes: ['etc_listing'] },
  'no-remounts': { area: 'filesystem_write', probes: ['write_root', 'write_dev', 'write_system'] },
  'no-masks': { area: 'information', probes: ['kernel_information'] },
  'no-limits': { area: 'information', probes: ['core_dumps', 'open_files', 'raise_limits'] },
  'host-root': { area: 'filesystem_write', probes: ['all_kernel_settings', 'kernel_settings'] },
  // The last, as it spoils the stage for others.
  'writable-scopes': { area: 'filesystem_write', probes: ['write_read_scope', 'write_glob'] },
};

const path = fileURLToPath(new URL('weakened-executor.ts', import.meta.url));

let stage: Stage;
beforeAll(async () => {
  const executors = Object.keys(mustFail).map((weakening) => ({
    name: weakening,
    labels: { recipe: weakening },
    config: probingConfig,
    program: { path, args: [weakening] },
  }));
  stage = await Stage.open({ executors });
}, 120_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

describe.each(Object.entries(mustFail))('a recipe with %s', (weakening, { area, probes }) => {
  it(`fails probes of ${area}`, async () => {
    const { findings, stderr } = await stage.probe(area, { recipe: weakening });
    const failed = [...findings.values()].filter(({ held }) => !held).map(({ name }) => name);
    expect(failed, stderr).toEqual(expect.arrayContaining([...probes]));
  });
});
