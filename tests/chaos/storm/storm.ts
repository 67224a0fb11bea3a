import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, globSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { audit, auditLeftovers, type Books, readLedger, unsettled, type Wrong } from './books.ts';
import { faults as allFaults, type Blow, type Fault, mendAll } from './faults.ts';
import type { ClientsConfig, Entry } from './ledger.ts';
import { createRandom } from './random.ts';
import { LogWatch } from './receipt-log.ts';
import { hosts, principals, type Scene, setScene, startAll } from './scene.ts';

export interface StormOptions {
  readonly seed: string;
  readonly seconds: number;
  /** Those whose names hold one of these. Absent: all. */
  readonly only?: readonly string[];
  /** Calls at once, of each principal. */
  readonly width: number;
  readonly slots: number;
  /** Whether jobs are started by csc-launcher, or as where it is not. */
  readonly hasLauncher: boolean;
  readonly diskBytes: number;
  /** Seconds between two blows, at most. */
  readonly gapSec: number;
  readonly tell: (line: string) => void;
  /** Where logs, databases and books go if anything is wrong. Absent: nowhere. */
  readonly evidence?: string;
  /** How long all may take to come to rest once everything is mended. */
  readonly restSec: number;
}

export interface Struck {
  readonly fault: string;
  readonly atMs: number;
  readonly untilMs: number;
  /** There was nothing to be broken at the time. */
  readonly missed: boolean;
}

export interface StormReport extends Books {
  readonly struck: readonly Struck[];
}

/** Breaks a fleet at random for a while, mends it, and audits its books. */
export async function runStorm(options: StormOptions): Promise<StormReport> {
  const { diskBytes, slots, hasLauncher, tell } = options;
  const scene = await setScene({
    diskBytes,
    slots,
    hasLauncher,
    fakeClock: chosen(options).some(({ name }) => name.startsWith('clock')),
  });
  await using _ = scene;
  await startAll(scene);
  const clients = new Clients(scene, options);
  const log = new LogWatch(scene);
  try {
    await clients.ready();
    const struck = await strikeAll(scene, options);
    tell('all is mended');
    await mendAll(scene);
    await clients.finish(options.restSec);
    const left = await atRest(scene, options.restSec);
    const ledger = readLedger(clients.ledger);
    const books = await audit(scene, ledger, log, options.restSec);
    await Promise.all(Object.values(scene.executors).map((it) => it.end('SIGTERM')));
    await scene.gate.end('SIGTERM');
    await scene.cosigner.end('SIGTERM');
    const wrong = [...books.wrong, ...left, ...auditLeftovers(scene)].map((it) => withSpan(it, ledger));
    if (wrong.length > 0 && options.evidence !== undefined)
      keepEvidence(scene, clients.ledger, options.evidence);
    return { ...books, wrong, struck };
  } finally {
    log.stop();
    await clients.kill();
  }
}

function chosen({ only }: StormOptions): readonly Fault[] {
  return only === undefined
    ? allFaults
    : allFaults.filter(({ name }) => only.some((it) => name.includes(it)));
}

async function strikeAll(scene: Scene, options: StormOptions): Promise<Struck[]> {
  const { seed, seconds, gapSec, tell } = options;
  const random = createRandom(seed);
  const faults = chosen(options);
  const begun = performance.now();
  const now = (): number => performance.now() - begun;
  const struck: Struck[] = [];
  const held = new Map<string, Promise<void>>();
  const strike = async (blow: Blow): Promise<void> => {
    const atMs = now();
    const said = await blow.strike(scene).catch((error: unknown) => `FAILED ${error}`);
    tell(`${(atMs / 1000).toFixed(1)} s  ${blow.name}  ${said}`);
    const missed = / (there was none|nothing ran|it was not running)$/.test(said);
    struck.push({ fault: blow.name, atMs: Date.now() - (now() - atMs), untilMs: Date.now(), missed });
    held.delete(blow.holds);
  };
  while (now() < seconds * 1000) {
    // Drawn whole, whatever comes of it: the next one is the same for the same seed.
    const [blow, gap] = [random.pick(faults).draw(random), random.next() * gapSec];
    if (!held.has(blow.holds)) held.set(blow.holds, strike(blow));
    await sleep(gap * 1000);
  }
  await Promise.all(held.values());
  return struck;
}

// From its first call's beginning to its last one's end, in the storm.
function withSpan(wrong: Wrong, ledger: readonly Entry[]): Wrong {
  const calls = ledger.filter(({ key, when }) => key === wrong.key && when === 'in the storm');
  if (calls.length === 0) return wrong;
  return {
    ...wrong,
    span: [Math.min(...calls.map((it) => it.beganMs)), Math.max(...calls.map((it) => it.endedMs))],
  };
}

/** A process of clients, and what it writes down. */
class Clients {
  readonly ledger: string;
  readonly #child: ChildProcess;
  readonly #stormed: Promise<unknown>;

  constructor({ fleet, clientLink, place }: Scene, { seed, width }: StormOptions) {
    this.ledger = join(fleet.directory, 'ledger.jsonl');
    const config: ClientsConfig = {
      address: clientLink.address,
      tls: Object.fromEntries(principals.map((it) => [it, fleet.tls(it)])),
      seed,
      width,
      ledger: this.ledger,
      place,
      name: 'c',
    };
    const file = fleet.write('clients.json', JSON.stringify(config));
    this.#child = fork(fileURLToPath(new URL('clients.ts', import.meta.url)), [file], { stdio: 'inherit' });
    this.#stormed = once(this.#child, 'message');
  }

  /** Resolves once the first call has ended. */
  async ready(): Promise<void> {
    while (readLedger(this.ledger).length === 0) await sleep(50);
  }

  /** They begin nothing more, end what they have, and ask again for all of it. */
  async finish(withinSec: number): Promise<void> {
    this.#child.kill('SIGTERM');
    const gone = once(this.#child, 'exit');
    const late = sleep(withinSec * 1000, 'late', { ref: false });
    if ((await Promise.race([this.#stormed, gone, late])) === 'late') return;
    this.#child.send('ask again');
    await Promise.race([gone, late]);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}

/** Waits until nothing runs or is owed any more; gives what does not come to rest. */
async function atRest(scene: Scene, withinSec: number): Promise<Wrong[]> {
  const until = performance.now() + withinSec * 1000;
  const warden = scene.fleet.connect('warden');
  for (;;) {
    const executors = await warden.executors();
    const busy = executors
      .filter((it) => it.running > 0 || !it.connected || it.resting !== '')
      .map((it) => ({
        what: `the gate says of ${it.identity}: ${it.running} running, ${it.connected ? '' : 'away'} ${it.resting}`,
      }));
    const left = [...busy, ...unsettled(scene)];
    if (left.length === 0 || performance.now() > until) return left;
    await sleep(200);
  }
}

/** What is needed to find out what went wrong, out of a directory that will be gone. */
function keepEvidence({ fleet, dataDir, stateDir, place }: Scene, ledger: string, to: string): void {
  mkdirSync(to, { recursive: true });
  const databases = [join(dataDir(), 'gate.db'), ...hosts.map((it) => join(stateDir(it), 'journal.sqlite'))];
  const logs = globSync(join(fleet.directory, '*.log'));
  for (const path of [...logs, ledger, place.witness, ...databases.flatMap((it) => [it, `${it}-wal`])])
    if (existsSync(path))
      copyFileSync(path, join(to, path.slice(fleet.directory.length + 1).replaceAll('/', '-')));
}

/** A row for each fault: how often it struck something, and what is wrong of what was under way then. */
export function table({ struck, wrong }: StormReport): string {
  const hits = struck.filter(({ missed }) => !missed);
  const rows = [...Map.groupBy(hits, ({ fault }) => fault)]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([fault, blows]) => {
      const lost = wrong.filter(({ span }) => span === undefined || blows.some((it) => meets(it, span)));
      return `| ${fault} | ${blows.length} | ${lost.length} |`;
    });
  return ['| what was broken | how often | what was lost |', '| --- | --- | --- |', ...rows].join('\n');
}

function meets({ atMs, untilMs }: Struck, [from, to]: readonly [number, number]): boolean {
  return atMs <= to && untilMs >= from;
}
