import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fleet, jobUid } from '@csc-fleet/test-kit/fleet';
import { freePort } from '@csc-fleet/test-kit/free-port';
import { csc } from '@csc-fleet/test-kit/process';
import { SmallDisk } from '@csc-fleet/test-kit/small-disk';
import { LinkProxy } from './link-proxy.ts';
import { Party } from './party.ts';
import { answerOf, type Place } from './work.ts';

export const hosts = ['one', 'two'] as const;
export type Host = (typeof hosts)[number];
export const principals = ['alice', 'bob', 'carol'] as const;

/** The host whose clock can be set: libfaketime is in all that it runs. */
export const hostWithClock: Host = 'two';

export interface SceneOptions {
  readonly diskBytes: number;
  readonly slots: number;
  /** Whether the executors are told of a clock that can be set. */
  readonly fakeClock: boolean;
  /** Whether they find what `scripts/build-launcher.sh` makes; without it Debian's own tools start the jobs. */
  readonly hasLauncher: boolean;
}

/** Gate, two executors, and what is between and below them, all of which can be broken. */
export interface Scene extends AsyncDisposable {
  readonly fleet: Fleet;
  readonly place: Place;
  /** How many answers jobs have been sent over an allowlisted network. */
  served(): number;
  readonly gate: Party;
  readonly executors: Readonly<Record<Host, Party>>;
  /** The witness that cosigns the gate's log of receipts. */
  readonly cosigner: Party;
  /** All that can be killed. */
  readonly parties: readonly Party[];
  /** Between an executor and the gate. */
  readonly links: Readonly<Record<Host, LinkProxy>>;
  /** Between clients and the gate. */
  readonly clientLink: LinkProxy;
  readonly disks: Readonly<Record<Host | 'gate', SmallDisk>>;
  dataDir(): string;
  stateDir(host: Host): string;
  /** Sets the clock of `hostWithClock`, of what runs and of what will. Seconds from the truth. */
  setClock(seconds: number): void;
}

const faketime = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1',
];

export async function setScene({ diskBytes, slots, fakeClock, hasLauncher }: SceneOptions): Promise<Scene> {
  // A scene that cannot be set leaves nothing mounted and nothing listening.
  await using made = new AsyncDisposableStack();
  const port = await freePort();
  const server = await serveAnswers();
  made.defer(() => server.close());
  const egress = [`localhost:${server.port}`];
  const disks: Partial<Record<Host | 'gate', SmallDisk>> = {};
  const witnessAddress = `127.0.0.1:${await freePort()}`;
  const gateConfig: Record<string, unknown> = {
    limits: { requests_per_sec: 100_000, burst: 100_000, concurrent_calls: 1000 },
    heartbeat_interval_sec: 1,
    executor_lost_after_sec: 12,
  };
  const fleet = new Fleet(
    {
      executors: hosts.map((name) => ({ name })),
      clients: [...principals.slice(1), 'warden'],
      prepare: async (directory) => {
        for (const name of ['gate', ...hosts] as const) {
          const path = join(directory, name === 'gate' ? 'gate' : `executor-${name}`);
          const disk = new SmallDisk(path, diskBytes);
          made.defer(() => disk.unmount());
          disks[name] = disk;
        }
        const { stdout } = await csc(['witness', 'init', cosignerOf(directory), '--name', 'witness.test/w1']);
        gateConfig['witnesses'] = [{ url: `http://${witnessAddress}`, vkey: stdout.trim() }];
      },
      gate: gateConfig,
      policy: { network: 'allowlisted', allowed_egress_hosts: egress },
    },
    port,
  );
  made.use(fleet);
  await fleet.prepare();
  fleet.write('bindings.yaml', JSON.stringify(bindings));
  const [one, two, clientLink] = await Promise.all([1, 2, 3].map(() => LinkProxy.open(port)));
  if (one === undefined || two === undefined || clientLink === undefined) throw new Error('no proxies');
  for (const link of [one, two, clientLink]) made.use(link);
  const links = { one, two };
  const witness = join(fleet.writable('witness'), 'starts');
  writeFileSync(witness, '');
  if (process.getuid?.() === 0) chownSync(witness, jobUid, jobUid);
  const artifacts = fleet.writable('artifacts');
  const clock = fleet.write('clock', '+0s\n');
  const without = join(fleet.directory, 'without');
  mkdirSync(without);
  const executor = (name: Host): Party => {
    const file = fleet.writeExecutorConfig({
      name,
      config: {
        gate: { address: links[name].address },
        slots,
        ceiling: { inline_code: true, network: 'allowlisted', egress_hosts: egress },
        limits: { stdout_bytes: 8 * 1024 * 1024, stderr_bytes: 1024 * 1024 },
      },
    });
    return new Party({
      name: `executor ${name}`,
      args: ['executor', '--config', file],
      ...(hasLauncher ? {} : { through: hiding(builtPrograms, without) }),
      log: join(fleet.directory, `executor-${name}.log`),
      ...(fakeClock && name === hostWithClock ? { env: clockEnvironment(clock) } : {}),
    });
  };
  const gate = new Party({
    name: 'gate',
    args: ['gate', '--config', join(fleet.directory, 'gate.yaml')],
    log: join(fleet.directory, 'gate.log'),
  });
  const executors = { one: executor('one'), two: executor('two') };
  const logKey = join(fleet.directory, 'gate/log/log.vkey');
  const cosigner = new Party({
    name: 'witness',
    args: ['witness', 'serve', cosignerOf(fleet.directory), '--log', logKey, '--listen', witnessAddress],
    log: join(fleet.directory, 'witness.log'),
  });
  const parties = [gate, ...Object.values(executors), cosigner];
  made.defer(async () => {
    for (const party of parties) party.signal('SIGCONT');
    await Promise.all(parties.map((it) => it.end('SIGKILL')));
  });
  const all = made.move();
  return {
    fleet,
    place: { workspace: fleet.workspace, witness, artifacts, server: server.port },
    served: () => server.served,
    gate,
    executors,
    cosigner,
    parties,
    links,
    clientLink,
    disks: disks as Record<Host | 'gate', SmallDisk>,
    dataDir: () => join(fleet.directory, 'gate'),
    stateDir: (host) => join(fleet.directory, `executor-${host}`),
    setClock: (seconds) => writeFileSync(clock, `${seconds < 0 ? '' : '+'}${seconds}s\n`),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** What the witness has of its own. */
export function cosignerOf(directory: string): string {
  return join(directory, 'cosigner');
}

/** Resolves once the gate and the witness of its log listen, and both executors are connected. */
export async function startAll({ gate, executors, cosigner }: Scene): Promise<void> {
  gate.start();
  await gate.logged(/listening/i, 0);
  // The gate has made the key of its log.
  cosigner.start();
  await cosigner.logged(/listening/i, 0);
  for (const executor of Object.values(executors)) executor.start();
  await Promise.all(Object.values(executors).map((it) => it.logged(/"msg":"connected/, 0)));
}

// Of wall time alone: what waits is never to be woken by a clock that somebody sets (libfaketime(1)). Sockets and files
// keep their own times.
function clockEnvironment(file: string): NodeJS.ProcessEnv {
  const library = faketime.find((path) => existsSync(path));
  if (library === undefined) throw new Error('faketime is missing: scripts/setup.sh tests installs it');
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
}

const builtPrograms = fileURLToPath(new URL('../../../packages/sandbox/bin', import.meta.url));

// In a mount namespace of its own, and by exec alone: what is started is the process that was asked for.
function hiding(directory: string, behind: string): readonly string[] {
  const script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
  return ['unshare', '--mount', 'sh', '-c', script, 'sh', behind, directory];
}

interface Answers {
  readonly port: number;
  readonly served: number;
  close(): void;
}

/** A server on loopback that gives each who asks the bytes of its key. */
async function serveAnswers(): Promise<Answers> {
  let served = 0;
  const server = createServer((request, response) => {
    served += 1;
    response.end(answerOf((request.url ?? '').slice(1)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    get served() {
      return served;
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

const own = { identity: 'spiffe://csc.local/client/*', policies: ['tests'] };
const bindings = {
  bindings_version: 'csc.bindings.v0.2',
  bindings: [{ identity: 'spiffe://csc.local/client/warden', policies: ['tests'], roles: ['admin'] }, own],
};

/** Sets how many descriptors a process may have (prlimit(1)); gives what it had. */
export function limitDescriptors(pid: number, soft: number): void {
  execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${soft}:`]);
}

/** The soft limit of a process's descriptors. */
export function descriptorLimit(pid: number): number {
  const found = /Max open files\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'));
  return Number(found?.[1]);
}
