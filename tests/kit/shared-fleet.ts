import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPolicyFile } from '@csc-fleet/common/policy';
import { type Fleet, Guest, startFleet } from './fleet.ts';
import { testPolicy } from './policy.ts';
import { repository } from './process.ts';

/** How many open files an executor grants that runs probes. */
export const openFiles = 256;

/** The config of such an executor: the defaults of a host, but for this. */
export const probingConfig = {
  env: { GRANTED: 'yes', KEPT: 'no' },
  limits: { open_files: openFiles },
  ceiling: {},
};

/** Who visits, a test file each, and the policy of each over its own workspace. */
const guests = {
  battery: (workspace: string) => testPolicy(workspace, { name: 'battery' }),
  neighbours: (workspace: string) => testPolicy(workspace, { name: 'neighbours' }),
  scopes: (workspace: string) => testPolicy(workspace, { name: 'scopes' }),
  results: (workspace: string) =>
    testPolicy(workspace, {
      name: 'results',
      policy_schema_version: 'csc.policy.v0.2',
      limits: { write_bytes: 16 * 1024 * 1024 },
    }),
  workloads: (workspace: string) =>
    testPolicy(workspace, {
      name: 'workloads',
      allow_commands: ['npm', 'make', 'git', 'python3', 'tar', 'node', 'cat'],
    }),
  /** The profile as it is shipped. */
  inspect: (workspace: string) => {
    const { policy } = readPolicyFile(join(repository, 'policies/inspect.yaml'));
    const { name: _, allowed_cwd_prefixes: _cwd, allowed_read_prefixes: _read, ...members } = policy;
    return JSON.stringify({ ...JSON.parse(testPolicy(workspace, { ...members })), name: 'inspect' });
  },
};
export type GuestName = keyof typeof guests;
const names = Object.keys(guests) as GuestName[];

let shared: Promise<Fleet> | undefined;

/**
 * A guest of the one fleet of this worker, which starts for the first that asks and ends with the worker: for files that
 * need nothing but a host as it is by default, as each start takes more than most of them do.
 */
export async function visitFleet(name: GuestName): Promise<Guest> {
  shared ??= start();
  return new Guest(await shared, name);
}

async function start(): Promise<Fleet> {
  const fleet = await startFleet({
    executors: [{ name: 'host', config: probingConfig }],
    clients: names,
    bindings: {
      bindings_version: 'csc.bindings.v0.1',
      bindings: names.map((it) => ({ identity: `spiffe://csc.local/client/${it}`, policies: [it] })),
    },
    prepare(directory) {
      for (const name of names) {
        const text = guests[name](join(directory, name, 'workspace'));
        writeFileSync(join(directory, 'policies', `${name}.yaml`), text);
      }
    },
  });
  endWithUs(fleet);
  return fleet;
}

/** Vitest ends a worker by a signal, at which nothing of it runs any more: another process sees it by the end of its input. */
function endWithUs({ pids, directory }: Fleet): void {
  const end = 'cat; directory=$1; shift; kill -KILL "$@"; rm -rf -- "$directory" || rm -rf -- "$directory"';
  const child = spawn('sh', ['-c', end, 'sh', directory, ...pids.map(String)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  child.unref();
}
