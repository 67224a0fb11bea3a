import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { type Fleet, type FleetOptions, type Guest, jobUid, startFleet } from '@csc-fleet/test-kit/fleet';
import { repository } from '@csc-fleet/test-kit/process';
import { type GuestName, openFiles, visitFleet } from '@csc-fleet/test-kit/shared-fleet';
import { hardLimit, ownLimits } from '../../packages/sandbox/src/doctor/shortage-remedy.ts';

/** One probe as its script declares it. */
export interface Probe {
  readonly area: string;
  readonly name: string;
  readonly tries: string;
  readonly expects: string;
}

/** What came of a probe inside the sandbox. */
export interface Finding {
  readonly name: string;
  readonly held: boolean;
  readonly seen: string;
}

const directory = join(repository, 'tests/sandbox/probes');

/** The scripts of probes that run together, one contract each. */
export const areas = [
  'filesystem_read',
  'filesystem_write',
  'namespaces',
  'privilege',
  'network',
  'terminal',
  'information',
] as const;
export type Area = (typeof areas)[number];

/** The probes of an area, read off its script: `@probe("tries", "expects")` and the function's name. */
export function readProbes(area: Area | 'neighbours'): Probe[] {
  const text = readFileSync(join(directory, `${area}.py`), 'utf8');
  const found = text.matchAll(/^@probe\("(.+)", "(.+)"\)\ndef (\w+)\(/gm);
  return [...found].map(([, tries = '', expects = '', name = '']) => ({ area, name, tries, expects }));
}

/** What a script printed: a finding a line. */
export function readFindings(stdout: string): Finding[] {
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Finding);
}

/** A fleet whose executor runs probes, or a guest of one, and what they look for on the host. */
export class Stage<Place extends Fleet | Guest = Fleet | Guest> implements AsyncDisposable {
  readonly fleet: Place;
  readonly #listeners: readonly Server[];
  /** A segment of shared memory that the host has. */
  readonly #segment: string;

  private constructor(fleet: Place, listeners: readonly Server[], segment: string) {
    this.fleet = fleet;
    this.#listeners = listeners;
    this.#segment = segment;
  }

  static async open(options: FleetOptions): Promise<Stage<Fleet>> {
    return await Stage.#furnish(await startFleet(options));
  }

  /** One on the fleet that the files of a worker share. */
  static async visit(name: GuestName): Promise<Stage<Guest>> {
    return await Stage.#furnish(await visitFleet(name));
  }

  static async #furnish<Place extends Fleet | Guest>(fleet: Place): Promise<Stage<Place>> {
    const listeners: Server[] = [];
    try {
      const at = furnish(fleet.workspace);
      const params = {
        ...at,
        stage: fleet.top,
        workspace: fleet.workspace,
        top: fleet.workspace.split('/')[1],
        openFiles,
        coreBytes: hardLimit(ownLimits(), 'Max core file size') >= 1 ? 1 : 0,
        hostPid: process.pid,
        namespaces: ownNamespaces(),
        calls: systemCalls(),
        ...(await serve(at, listeners)),
        ...plantAsRoot(at.shown),
      };
      writeFileSync(join(at.probes, 'params.json'), JSON.stringify(params));
      return new Stage(fleet, listeners, makeSegment());
    } catch (error) {
      for (const server of listeners) server.close();
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs the probes of an area in one contract. The scripts take no arguments; a spoilt executor does. */
  async probe(
    area: Area,
    args: readonly string[] = [],
  ): Promise<{ findings: Map<string, Finding>; stderr: string; receipt: ReceiptV02 }> {
    const { workspace } = this.fleet;
    const out = join(workspace, 'out');
    // What an earlier run has left there would be in the way.
    for (const name of readdirSync(out)) rmSync(join(out, name), { recursive: true, force: true });
    const command = {
      argv: ['python3', join(workspace, 'probes', `${area}.py`), ...args],
      read_paths: [`${workspace}/shown/**`, `${workspace}/globs/*.json`, `${workspace}/probes/**`],
      write_paths: [out],
      env_allow: ['GRANTED'],
    };
    const { stdout, stderr, receipt } = await this.run(command);
    const findings = readFindings(stdout);
    return { findings: new Map(findings.map((finding) => [finding.name, finding])), stderr, receipt };
  }

  /** Runs one command and gives all that came of it. */
  async run(
    command: Parameters<Fleet['contract']>[0],
    overrides: Parameters<Fleet['contract']>[1] = {},
  ): Promise<{ stdout: string; stderr: string; receipt: ReceiptV02 }> {
    let [stdout, stderr] = ['', ''];
    const { receipt } = await this.fleet.connect().run(this.fleet.contract(command, overrides), {
      handlers: {
        onStdout: (data: Buffer) => {
          stdout += data.toString();
        },
        onStderr: (data: Buffer) => {
          stderr += data.toString();
        },
      },
    });
    return { stdout, stderr, receipt: receipt as ReceiptV02 };
  }

  /** Writes a Python script into the workspace and gives its path. */
  script(name: string, text: string): string {
    const path = join(this.fleet.workspace, 'probes', name);
    writeFileSync(path, text);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#listeners) server.close();
    execFileSync('ipcrm', ['--shmem-id', this.#segment]);
    await this.fleet[Symbol.asyncDispose]();
  }
}

// What is declared, what is not, and links from the one to the other.
function furnish(workspace: string): Record<'shown' | 'hidden' | 'globs' | 'out' | 'probes', string> {
  const at = (name: string): string => join(workspace, name);
  for (const name of ['shown', 'hidden', 'globs', 'out', 'probes']) mkdirSync(at(name));
  writeFileSync(at('shown/a.json'), '{}');
  writeFileSync(at('hidden/secret.txt'), 'secret');
  for (const name of ['one.json', 'two.json', 'other.txt', '.hidden.json'])
    writeFileSync(at(`globs/${name}`), name);
  symlinkSync(at('hidden/secret.txt'), at('shown/to-hidden'));
  symlinkSync('../hidden/secret.txt', at('shown/to-hidden-relative'));
  symlinkSync('/etc/shadow', at('shown/to-shadow'));
  symlinkSync('/root', at('shown/to-directory'));
  cpSync(directory, at('probes'), { recursive: true });
  if (process.getuid?.() === 0) {
    // The tree that may be read belongs to the job user as well: only the mount keeps it from writing.
    for (const name of ['shown', 'shown/a.json', 'globs', 'globs/one.json', 'out'])
      chownSync(at(name), jobUid, jobUid);
  }
  return {
    shown: at('shown'),
    hidden: at('hidden'),
    globs: at('globs'),
    out: at('out'),
    probes: at('probes'),
  };
}

// What the host listens on, and jobs should not reach.
async function serve(at: { hidden: string; shown: string }, listeners: Server[]) {
  const open = async (where: number | string, host?: string): Promise<number> => {
    const { server, port } = await listen(where, host);
    listeners.push(server);
    return port;
  };
  const abstract = `csc-probe-${process.pid}`;
  await open(`\0${abstract}`);
  // Only that it is not there keeps a job from the one, and only whose it is from the other.
  for (const [directory, mode] of [[at.hidden, 0o777] as const, [at.shown, 0o755] as const]) {
    await open(join(directory, 'socket'));
    chmodSync(join(directory, 'socket'), mode);
  }
  return { abstract, port: await open(0), port6: await open(0, '::1').catch(() => open(0)) };
}

// What only root can leave in a tree: a file for nobody else, and a program that would run as root.
function plantAsRoot(shown: string): Record<string, string> {
  if (process.getuid?.() !== 0) return {};
  const [ownerOnly, setuidTool] = [join(shown, 'owner-only'), join(shown, 'setuid-id')];
  writeFileSync(ownerOnly, 'for root', { mode: 0o600 });
  cpSync('/usr/bin/id', setuidTool);
  chmodSync(setuidTool, 0o4755);
  return { ownerOnly, setuidTool, closedSocket: join(shown, 'socket') };
}

// namespaces(7): those that a sandbox has of its own, as this process has them.
function ownNamespaces(): Record<string, string> {
  const names = ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'];
  return Object.fromEntries(names.map((name) => [name, readlinkSync(`/proc/self/ns/${name}`)]));
}

// The numbers of this architecture's system calls, by name.
function systemCalls(): Record<string, number> {
  const file = join(repository, 'packages/sandbox/src/seccomp/system-calls.json');
  const tables = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, number>>;
  return tables[process.arch === 'x64' ? 'x86_64' : 'aarch64'] ?? {};
}

// `Shared memory id: 42`
function makeSegment(): string {
  return /\d+/.exec(execFileSync('ipcmk', ['--shmem', '4096'], { encoding: 'utf8' }))?.[0] ?? '';
}

async function listen(where: number | string, host = '127.0.0.1'): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (typeof where === 'number') server.listen(where, host, resolve);
    else server.listen(where, resolve);
  });
  const address = server.address();
  return { server, port: typeof address === 'object' && address !== null ? address.port : 0 };
}
