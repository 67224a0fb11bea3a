import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { logPath } from '../../../packages/gate/src/output/output-store.ts';
import { over } from './books.ts';
import { descendants, type Party } from './party.ts';
import { bytesOf, createRandom, type Random } from './random.ts';
import { descriptorLimit, type Host, hosts, hostWithClock, limitDescriptors, type Scene } from './scene.ts';

/** One blow: what is broken, for how long, and all else is drawn before it is struck. */
export interface Blow {
  readonly name: string;
  /** What no two blows may hold at the same time. */
  readonly holds: string;
  /** Breaks it and, where that is to end, mends it. Gives what was done, in words. */
  strike(scene: Scene): Promise<string>;
}

export interface Fault {
  readonly name: string;
  readonly weight: number;
  draw(random: Random): Blow;
}

const seconds = (random: Random, least: number, most: number): number =>
  random.between(least * 10, most * 10) / 10;

const anyHost = (random: Random): Host => hosts[random.between(0, hosts.length - 1)] ?? 'one';

/** A fault of one of the executors. */
function ofHost(
  name: string,
  weight: number,
  draw: (
    random: Random,
    host: Host,
  ) => { readonly said: string; strike(scene: Scene): Promise<string | undefined> },
  holds = '',
  chooseHost = anyHost,
): Fault {
  return {
    name,
    weight,
    draw: (random) => {
      const host = chooseHost(random);
      const { said, strike } = draw(random, host);
      return {
        name,
        holds: `${holds}${host}`,
        strike: async (scene) => `${host}: ${(await strike(scene)) ?? said}`,
      };
    },
  };
}

/** The clock of the host that has one of its own is wrong for a while, either way. */
function clockOff(name: string, offsetSec: number): Fault {
  return ofHost(
    `clock: ${name} off`,
    2,
    (random) => {
      const [time, offset] = [seconds(random, 4, 12), random.chance(0.5) ? offsetSec : -offsetSec];
      return {
        said: `${offset} s for ${time} s`,
        strike: async (scene) => {
          scene.setClock(offset);
          await sleep(time * 1000);
          scene.setClock(0);
          return undefined;
        },
      };
    },
    'clock ',
    () => hostWithClock,
  );
}

function ofGate(
  name: string,
  weight: number,
  draw: (random: Random) => { readonly said: string; strike(scene: Scene): Promise<string | undefined> },
  holds = 'gate',
): Fault {
  return {
    name,
    weight,
    draw: (random) => {
      const { said, strike } = draw(random);
      return { name, holds, strike: async (scene) => (await strike(scene)) ?? said };
    },
  };
}

async function killAndRestart(party: Party, awaySec: number, meanwhile?: () => void): Promise<undefined> {
  await party.end('SIGKILL');
  meanwhile?.();
  await sleep(awaySec * 1000);
  party.start();
  return undefined;
}

async function stopAndContinue(party: Party, forSec: number): Promise<undefined> {
  party.signal('SIGSTOP');
  await sleep(forSec * 1000);
  party.signal('SIGCONT');
  return undefined;
}

async function drainAndRestart(party: Party, awaySec: number): Promise<undefined> {
  await party.end('SIGTERM');
  await sleep(awaySec * 1000);
  party.start();
  return undefined;
}

async function fillAndFree(scene: Scene, disk: Host | 'gate', forSec: number): Promise<string | undefined> {
  const { path, freeBytes } = scene.disks[disk];
  // In another process, so that the storm goes on meanwhile; to the last page, also of what is given back.
  const until = performance.now() + forSec * 1000;
  while (performance.now() < until) {
    scene.disks[disk].fill();
    await sleep(100);
  }
  scene.disks[disk].makeRoom();
  return freeBytes === 0 ? `${path} was full already` : undefined;
}

// As a power cut leaves them: what was never made durable is gone or is anything.
function tearTail(path: string, random: Random): void {
  if (!existsSync(path)) return;
  const { size } = statSync(path);
  if (random.chance(0.5)) truncateSync(path, Math.max(0, size - random.between(1, 5000)));
  if (random.chance(0.5)) appendFileSync(path, bytesOf(String(random.next()), random.between(1, 5000)));
}

/** Behind a write-ahead log's last commit stands whatever the disk held before. */
function soilLog(path: string, random: Random): void {
  if (existsSync(path)) appendFileSync(path, bytesOf(String(random.next()), random.between(1, 9000)));
}

/** As `tearTail`; of what was made a moment before, the name may be gone as well. */
function tearLog(path: string, random: Random): void {
  if (random.chance(0.2)) rmSync(path, { force: true });
  tearTail(path, random);
}

/** The gate's logs of what it has no receipt of: their hosts still have all of it. */
function openLogs(dataDir: string): string[] {
  const database = new DatabaseSync(join(dataDir, 'gate.db'), { readOnly: true });
  try {
    const rows = database.prepare(`SELECT execution_id FROM executions WHERE state NOT IN ${over}`).all();
    return rows.map((row) => logPath(join(dataDir, 'output'), String(row['execution_id'])));
  } finally {
    database.close();
  }
}

/** The output of what has no receipt yet: nobody was promised that it is durable. */
function openSpools(stateDir: string): string[] {
  const database = new DatabaseSync(join(stateDir, 'journal.sqlite'), { readOnly: true });
  try {
    return database
      .prepare('SELECT execution_id FROM executions WHERE receipt_json IS NULL')
      .all()
      .map((row) => join(stateDir, 'spool', `${sha256Hex(String(row['execution_id']))}.log`));
  } finally {
    database.close();
  }
}

/** A process of a job of a host: its bubblewrap, by number. */
function jobOf(scene: Scene, host: Host, number: number): number | undefined {
  const { pid } = scene.executors[host];
  if (pid === undefined) return undefined;
  const jobs = descendants(pid).filter(({ name }) => name === 'bwrap');
  return jobs[number % Math.max(1, jobs.length)]?.pid;
}

function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** Kills what is found below an executor; what is not there yet is waited for. */
function killOfHost(
  name: string,
  weight: number,
  { is, forSec }: { readonly is: (line: readonly string[]) => boolean; readonly forSec: number },
): Fault {
  return ofHost(
    `${name}: kill -9`,
    weight,
    (random, host) => {
      const [number, lateMs] = [random.between(0, 100), random.between(0, 60)];
      return {
        said: 'one',
        strike: async ({ executors }) => {
          const until = performance.now() + forSec * 1000;
          for (;;) {
            const { pid } = executors[host];
            const found = pid === undefined ? [] : descendants(pid).filter((it) => is(commandLine(it.pid)));
            const chosen = found[number % Math.max(1, found.length)]?.pid;
            if (chosen !== undefined) {
              await sleep(lateMs);
              tryKill(chosen, 'SIGKILL');
              return undefined;
            }
            if (performance.now() > until) return 'there was none';
            await sleep(25);
          }
        },
      };
    },
    `${name} `,
  );
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

type Way = 'one' | 'two' | 'clients';
const ways: readonly Way[] = ['one', 'two', 'clients'];

function ofLink(
  name: string,
  weight: number,
  draw: (random: Random) => { readonly said: string; strike(scene: Scene, way: Way): Promise<void> },
): Fault {
  return {
    name,
    weight,
    draw: (random) => {
      const way = ways[random.between(0, ways.length - 1)] ?? 'one';
      const { said, strike } = draw(random);
      return {
        name,
        holds: `link ${way}`,
        strike: async (scene) => {
          await strike(scene, way);
          return `${way === 'clients' ? 'clients' : `executor ${way}`}: ${said}`;
        },
      };
    },
  };
}

const linkOf = (scene: Scene, way: Way) => (way === 'clients' ? scene.clientLink : scene.links[way]);

export const faults: readonly Fault[] = [
  ofGate('gate: kill -9', 3, (random) => {
    const away = seconds(random, 0, 3);
    return { said: `back after ${away} s`, strike: ({ gate }) => killAndRestart(gate, away) };
  }),
  ofGate('gate: SIGSTOP, SIGCONT', 2, (random) => {
    const time = seconds(random, 0.5, 10);
    return { said: `for ${time} s`, strike: ({ gate }) => stopAndContinue(gate, time) };
  }),
  ofGate('gate: drain and restart', 2, (random) => {
    const away = seconds(random, 0, 2);
    return { said: `back after ${away} s`, strike: ({ gate }) => drainAndRestart(gate, away) };
  }),
  ofGate('gate: kill -9, torn tails', 2, (random) => {
    const [away, own] = [seconds(random, 0, 2), createRandom(String(random.next()))];
    return {
      said: `back after ${away} s`,
      strike: (scene) =>
        killAndRestart(scene.gate, away, () => {
          for (const log of openLogs(scene.dataDir())) tearLog(log, own);
          soilLog(join(scene.dataDir(), 'gate.db-wal'), own);
        }),
    };
  }),
  ofGate(
    'witness: kill -9',
    2,
    (random) => {
      const away = seconds(random, 0, 4);
      return { said: `back after ${away} s`, strike: ({ cosigner }) => killAndRestart(cosigner, away) };
    },
    'witness',
  ),
  ofGate(
    'gate: disk full',
    2,
    (random) => {
      const time = seconds(random, 1, 6);
      return { said: `for ${time} s`, strike: (scene) => fillAndFree(scene, 'gate', time) };
    },
    'disk gate',
  ),
  ofHost('executor: kill -9', 4, (random, host) => {
    const away = seconds(random, 0, 3);
    return { said: `back after ${away} s`, strike: ({ executors }) => killAndRestart(executors[host], away) };
  }),
  ofHost('executor: SIGSTOP, SIGCONT', 3, (random, host) => {
    // Longer than its gate waits for it, now and then: what it has is LOST meanwhile.
    const time = random.chance(0.2) ? seconds(random, 13, 18) : seconds(random, 0.5, 8);
    return { said: `for ${time} s`, strike: ({ executors }) => stopAndContinue(executors[host], time) };
  }),
  ofHost('executor: drain and restart', 2, (random, host) => {
    const away = seconds(random, 0, 2);
    return {
      said: `back after ${away} s`,
      strike: ({ executors }) => drainAndRestart(executors[host], away),
    };
  }),
  ofHost('executor: kill -9, torn tails', 3, (random, host) => {
    const [away, own] = [seconds(random, 0, 2), createRandom(String(random.next()))];
    return {
      said: `back after ${away} s`,
      strike: (scene) =>
        killAndRestart(scene.executors[host], away, () => {
          const stateDir = scene.stateDir(host);
          for (const spool of openSpools(stateDir)) tearTail(spool, own);
          soilLog(join(stateDir, 'journal.sqlite-wal'), own);
        }),
    };
  }),
  ofHost(
    'executor: disk full',
    3,
    (random, host) => {
      const time = seconds(random, 1, 8);
      return { said: `for ${time} s`, strike: (scene) => fillAndFree(scene, host, time) };
    },
    'disk ',
  ),
  ofHost(
    'executor: no descriptors',
    2,
    (random, host) => {
      const [time, spare] = [seconds(random, 1, 5), random.between(0, 12)];
      return {
        said: `${spare} left for ${time} s`,
        strike: async ({ executors }) => {
          const { pid } = executors[host];
          if (pid === undefined) return 'it was not running';
          try {
            const before = descriptorLimit(pid);
            limitDescriptors(pid, readdirSync(`/proc/${pid}/fd`).length + spare);
            await sleep(time * 1000);
            limitDescriptors(pid, before);
          } catch {
            return 'it was killed meanwhile';
          }
          return undefined;
        },
      };
    },
    'descriptors ',
  ),
  clockOff('30 s', 30),
  clockOff('5 min', 300),
  ofHost(
    'job: kill -9',
    4,
    (random, host) => {
      const number = random.between(0, 100);
      return {
        said: 'its bubblewrap',
        strike: async (scene) => {
          const pid = jobOf(scene, host, number);
          if (pid === undefined) return 'nothing ran';
          tryKill(pid, 'SIGKILL');
          return undefined;
        },
      };
    },
    'job ',
  ),
  ofHost(
    'job: SIGSTOP, SIGCONT',
    2,
    (random, host) => {
      const [number, time] = [random.between(0, 100), seconds(random, 0.5, 4)];
      return {
        said: `its bubblewrap for ${time} s`,
        strike: async (scene) => {
          const pid = jobOf(scene, host, number);
          if (pid === undefined) return 'nothing ran';
          tryKill(pid, 'SIGSTOP');
          await sleep(time * 1000);
          tryKill(pid, 'SIGCONT');
          return undefined;
        },
      };
    },
    'job ',
  ),
  ofLink('link: stalls', 3, (random) => {
    const time = seconds(random, 1, 8);
    return {
      said: `for ${time} s`,
      strike: async (scene, way) => {
        linkOf(scene, way).stall();
        await sleep(time * 1000);
        linkOf(scene, way).mend();
      },
    };
  }),
  ofLink('link: reset', 3, () => ({
    said: 'all connections',
    strike: async (scene, way) => linkOf(scene, way).reset(),
  })),
  ofLink('link: half-open', 2, (random) => {
    const side = random.chance(0.5) ? 'near' : 'far';
    return {
      said: side === 'near' ? 'the one who dialled is gone' : 'the gate is gone',
      strike: async (scene, way) => linkOf(scene, way).orphan(side),
    };
  }),
  ofLink('link: refused', 2, (random) => {
    const time = seconds(random, 0.5, 5);
    return {
      said: `for ${time} s`,
      strike: async (scene, way) => {
        linkOf(scene, way).refuse();
        await sleep(time * 1000);
        linkOf(scene, way).mend();
      },
    };
  }),
  ofLink('link: slow', 2, (random) => {
    const [time, rate] = [seconds(random, 2, 8), random.between(20, 400) * 1024];
    return {
      said: `${Math.round(rate / 1024)} KiB/s for ${time} s`,
      strike: async (scene, way) => {
        linkOf(scene, way).throttle(rate);
        await sleep(time * 1000);
        linkOf(scene, way).mend();
      },
    };
  }),
  killOfHost('csc-launcher', 2, {
    is: ([program = '', verb]) => /csc-launcher-/.test(program) && verb === 'serve',
    forSec: 1,
  }),
  killOfHost('egress proxy', 4, { is: (line) => line.at(-2) === '/run/csc/proxy.cjs', forSec: 15 }),
  // It is there for a moment at the end of a run.
  killOfHost('measuring child', 4, {
    is: (line) => line.includes('--max-old-space-size=256') && line.includes('-e'),
    forSec: 15,
  }),
];

/** Undoes what any fault does, whether or not it has: what was cut off in the middle as well. */
export async function mendAll(scene: Scene): Promise<void> {
  for (const link of [...Object.values(scene.links), scene.clientLink]) link.mend();
  for (const disk of Object.values(scene.disks)) disk.makeRoom();
  scene.setClock(0);
  for (const party of scene.parties) {
    party.signal('SIGCONT');
    party.start();
  }
}
