import { createHash } from 'node:crypto';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@csc-fleet/client';
import { verifyAsync } from '@noble/ed25519';
import type { Ended, Entry } from './ledger.ts';
import { auditLog, type LogWatch } from './receipt-log.ts';
import { cosignerOf, type Host, hosts, type Scene } from './scene.ts';
import { artifactOf, workOf } from './work.ts';

/** What is wrong, in words, and whose it is where that is known. */
export interface Wrong {
  readonly what: string;
  readonly key?: string;
  /** When its calls began and ended, in milliseconds of wall time. Absent: nobody knows. */
  readonly span?: readonly [number, number];
}

export interface Books {
  readonly calls: number;
  readonly keys: number;
  readonly starts: number;
  readonly receipts: number;
  /** Answers that jobs were sent over an allowlisted network. */
  readonly visits: number;
  /** Hashes of what jobs left that receipts have. */
  readonly artifacts: number;
  /** Receipts in the gate's log, and how many of its checkpoints were met meanwhile. */
  readonly logged: number;
  readonly checkpoints: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly endings: Readonly<Record<string, number>>;
  readonly wrong: readonly Wrong[];
}

interface Signed {
  readonly execution_id: string;
  readonly contract_id: string;
  readonly status: string;
  readonly ended: string;
  readonly stdout_hash?: string;
  readonly artifacts?: readonly { readonly path: string; readonly sha256: string }[];
  readonly commands: readonly {
    readonly started_at?: string;
    readonly stdout_bytes: number;
    readonly stderr_bytes: number;
    readonly stdout_hash: string;
    readonly stderr_hash: string;
  }[];
  readonly signature: { readonly key_id: string; readonly signature: string };
}

interface OwnReceipt {
  readonly bytes: Buffer;
  readonly receipt: Signed;
  readonly host: Host;
}

// What a call may end with while its gate, its hosts or the way to them are broken: each says what to do, and none that
// anything is wrong with what ran.
const honest = new Set([
  'GATE_UNREACHABLE',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
  'STORE_UNAVAILABLE',
  'DRAINING',
  'QUEUE_FULL',
  'RATE_LIMITED',
  'SPOOL_FULL',
  'NO_RECEIPT',
  // Of a run that died with its host: what had arrived past the receipt, which is told apart.
  'RECEIPT_INVALID',
]);

/** How a run may end by what was done to it, beside what its contract says. */
const broken = new Set(['executor_restart', 'signal', 'output_limit']);

// bubblewrap killed while it built or held the sandbox: the ticket was spent, and nothing had started.
const isKilledEarly = ({ ended, error }: Ended): boolean =>
  ended === 'refused' && /bwrap ended with 137|killed before the command was let go/.test(error);

export function readLedger(path: string): Entry[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/**
 * Holds what clients, hosts and gate have written down against each other. All must be at rest, and the gate up.
 * @param log as it was met
 * @param restSec how long the gate may take to have everything in its log, and cosigned
 */
export async function audit(
  scene: Scene,
  ledger: readonly Entry[],
  log: LogWatch,
  restSec: number,
): Promise<Books> {
  const wrong: Wrong[] = [];
  const starts = readFileSync(scene.place.witness, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  const own = await readReceipts(scene, wrong);
  const byKey = Map.groupBy(ledger, ({ key }) => key);
  const idOf = new Map<string, string>();

  for (const [key, count] of counted(starts))
    if (count > 1) wrong.push({ what: `it was started ${count} times`, key });
  for (const [id, receipts] of Map.groupBy(own, ({ receipt }) => receipt.execution_id))
    if (receipts.length > 1)
      wrong.push({
        what: `execution ${id} has ${receipts.length} receipts of hosts: ${receipts.map((it) => `${it.host} ${it.receipt.status}`)}`,
        ...(receipts[0] === undefined ? {} : { key: receipts[0].receipt.contract_id }),
      });
  const receiptOf = new Map(own.map((it) => [it.receipt.contract_id, it]));
  for (const key of new Set(starts))
    if (!receiptOf.has(key)) wrong.push({ what: 'it was started, and no host has a receipt of it', key });
  for (const [key, { receipt, bytes, host }] of receiptOf) {
    const hasRun = receipt.status === 'success' || receipt.ended === 'exit';
    if (hasRun && !starts.includes(key))
      wrong.push({ what: `host ${host} has a receipt of what never started`, key });
    auditArtifacts(key, receipt, scene, wrong);
    const told = byKey.get(key)?.find(({ end }) => end.kind === 'receipt')?.end as Ended | undefined;
    if (told !== undefined && told.receiptSha256 !== sha256(bytes))
      wrong.push({ what: `its client has another receipt than host ${host}`, key });
  }
  for (const [key, entries] of byKey) auditCalls(key, entries, idOf, wrong);
  await auditOutput(scene, receiptOf, idOf, wrong);
  auditStores(scene, wrong);
  const hashes = own.map(
    ({ bytes, receipt }) => [sha256(bytes), `the receipt of ${receipt.execution_id}`] as const,
  );
  const logged = await auditLog(scene, log, new Map(hashes), restSec);
  for (const what of logged.wrong) wrong.push({ what });
  await auditByCsc(scene, restSec, wrong);
  for (const party of scene.parties) for (const what of party.ownEnds) wrong.push({ what });
  const errors = counted(ledger.flatMap(({ end }) => (end.kind === 'error' ? [end.code] : [])));
  const endings = counted(
    [...byKey.values()].flatMap((entries) => {
      const end = entries.find((it) => it.end.kind === 'receipt')?.end;
      return end?.kind === 'receipt' ? [endingOf(end)] : ['none'];
    }),
  );
  return {
    calls: ledger.length,
    keys: byKey.size,
    starts: starts.length,
    receipts: own.length,
    visits: scene.served(),
    artifacts: own.flatMap(({ receipt }) => receipt.artifacts ?? []).length,
    logged: logged.size,
    checkpoints: log.met.size,
    errors: Object.fromEntries(errors),
    endings: Object.fromEntries(endings),
    wrong,
  };
}

// Of what never started, also why.
function endingOf({ ended, status, error }: Ended): string {
  if (ended === 'refused') return `${status}: ${error.replaceAll(/[0-9]+/g, 'N').slice(0, 120)}`;
  return ended === 'exit' ? status : ended;
}

function auditCalls(key: string, entries: readonly Entry[], idOf: Map<string, string>, wrong: Wrong[]): void {
  const work = workOf(key);
  const ends = entries.flatMap(({ end }) => (end.kind === 'receipt' ? [end] : []));
  const ids = new Set(entries.flatMap(({ end }) => (end.executionId === undefined ? [] : [end.executionId])));
  if (ids.size > 1) wrong.push({ what: `it has ${ids.size} executions: ${[...ids]}`, key });
  for (const id of ids) idOf.set(key, id);
  for (const { end, when } of entries) {
    if (end.kind === 'error') {
      const isHonest =
        end.code === 'RECEIPT_INVALID' ? /unconfirmed/.test(end.message) : honest.has(end.code);
      if (!isHonest) wrong.push({ what: `a call ended with ${end.code}: ${end.message}`, key });
      if (end.idempotencyKey !== key)
        wrong.push({ what: `${end.code} without its key: ${end.message}`, key });
      continue;
    }
    if (end.wrong !== '') wrong.push({ what: `${when}: ${end.wrong}`, key });
    const whatFor = ((): string => {
      if (end.ended === 'exit') return end.exitCode === work.exitCode ? '' : `exit code ${end.exitCode}`;
      if (end.ended === 'cancelled') return work.manner === 'cancels' ? '' : 'it was cancelled';
      if (end.ended === 'timeout') return work.manner === 'times out' ? '' : 'it timed out';
      if (broken.has(end.ended) || isKilledEarly(end)) return '';
      return `it ended as ${end.status}, ${end.ended}, by ${end.signedBy}: ${end.error}`;
    })();
    if (whatFor !== '')
      wrong.push({ what: `${when}: ${whatFor}, and is to ${work.manner}, exit ${work.exitCode}`, key });
  }
  if (new Set(ends.map((it) => it.receiptSha256)).size > 1)
    wrong.push({ what: 'its calls got different receipts', key });
  if (!entries.some(({ end, when }) => when === 'asked again' && end.kind === 'receipt'))
    wrong.push({
      what: `after the storm, no receipt comes by its key: ${JSON.stringify(entries.at(-1)?.end)}`,
      key,
    });
}

// It is put in its place whole: a receipt has the hash of all of it, or says why it has none.
function auditArtifacts(key: string, { artifacts = [] }: Signed, { place }: Scene, wrong: Wrong[]): void {
  const work = workOf(key);
  const expected = work.artifact.length > 0 ? artifactOf(work, place) : undefined;
  for (const { path, sha256: hash } of artifacts)
    if (path !== expected || hash !== sha256(work.artifact))
      wrong.push({ what: `its receipt has ${hash} of ${path}`, key });
}

/** All receipts that the hosts keep, each verified by another implementation than the fleet's own. */
async function readReceipts({ fleet, stateDir }: Scene, wrong: Wrong[]): Promise<OwnReceipt[]> {
  const found: OwnReceipt[] = [];
  for (const host of hosts) {
    const directory = join(fleet.directory, `receipts-${host}`);
    const ring = join(fleet.directory, `keys-${host}.json`);
    const identity = `spiffe://csc.local/executor/${host}`;
    const keys = await fleet.csc([
      'executor',
      'keys',
      '--state-dir',
      stateDir(host),
      '--id',
      identity,
      '--export',
      ring,
    ]);
    const exported = await fleet.csc([
      'executor',
      'receipts',
      'export',
      directory,
      '--state-dir',
      stateDir(host),
    ]);
    for (const it of [keys, exported])
      if (it.code !== 0)
        wrong.push({ what: `the receipts of host ${host} could not be exported: ${it.stderr}` });
    if (!existsSync(directory)) continue;
    const verified = await fleet.csc(['receipts', 'verify', directory, '--keys', ring]);
    if (verified.code !== 0)
      wrong.push({ what: `the chain of host ${host}: ${verified.stdout}${verified.stderr}` });
    const publicKeys = readKeys(ring);
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.json')) continue;
      const bytes = readFileSync(join(directory, name));
      const receipt: Signed = JSON.parse(bytes.toString());
      if (!(await verifiesIndependently(receipt, publicKeys)))
        wrong.push({
          what: `receipt ${basename(name)} of host ${host} does not verify`,
          key: receipt.contract_id,
        });
      found.push({ bytes, receipt, host });
    }
  }
  return found;
}

// As an auditor does, with what the witness has cosigned: it may still have to be asked.
async function auditByCsc({ fleet, dataDir }: Scene, restSec: number, wrong: Wrong[]): Promise<void> {
  const log = join(dataDir(), 'log');
  const witness = join(cosignerOf(fleet.directory), 'witness.vkey');
  const until = performance.now() + restSec * 1000;
  for (const host of hosts) {
    const receipts = join(fleet.directory, `receipts-${host}`);
    // It has run nothing.
    if (!existsSync(receipts)) continue;
    const args = [
      ...['audit', 'verify', receipts],
      ...['--keys', join(fleet.directory, `keys-${host}.json`)],
      ...['--log', join(log, 'tree'), '--log-vkey', join(log, 'log.vkey'), '--witness-vkey', witness],
      ...['--remember', join(fleet.directory, 'audited-logs.json')],
    ];
    let verified = await fleet.csc(args);
    while (verified.code === 69 && performance.now() < until) {
      await sleep(500);
      verified = await fleet.csc(args);
    }
    if (verified.code !== 0)
      wrong.push({ what: `csc audit verify of host ${host}: ${verified.stdout}${verified.stderr}` });
  }
}

function readKeys(ring: string): Map<string, Buffer> {
  const { keys } = JSON.parse(readFileSync(ring, 'utf8')) as {
    keys: { key_id: string; public_key: string }[];
  };
  return new Map(keys.map((it) => [it.key_id, Buffer.from(it.public_key, 'base64')]));
}

// Protocol §5, by @noble/ed25519 and JSON.stringify alone.
async function verifiesIndependently(receipt: Signed, keys: ReadonlyMap<string, Buffer>): Promise<boolean> {
  const { signature, ...unsigned } = receipt.signature;
  const key = keys.get(unsigned.key_id);
  const signed = Buffer.from(canonical({ ...receipt, signature: unsigned }));
  return (
    key !== undefined && (await verifyAsync(Buffer.from(signature, 'base64'), signed, key, { zip215: false }))
  );
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, it]) => `${JSON.stringify(name)}:${canonical(it)}`).join(',')}}`;
}

/** The output that the gate has, from its first byte on, against the work and the host's receipt. */
async function auditOutput(
  { fleet }: Scene,
  receiptOf: ReadonlyMap<string, OwnReceipt>,
  idOf: ReadonlyMap<string, string>,
  wrong: Wrong[],
): Promise<void> {
  const clients = new Map(
    ['alice', 'bob', 'carol'].map((it) => [it, connect({ address: fleet.address, tls: fleet.tls(it) })]),
  );
  for (const [key, { receipt }] of receiptOf) {
    const work = workOf(key);
    const client = clients.get([...clients.keys()].find((it) => key.includes(`-${it}-`)) ?? '');
    const executionId = idOf.get(key);
    const command = receipt.commands[0];
    if (client === undefined || executionId === undefined || command === undefined) continue;
    const got: Record<string, Buffer[]> = { stdout: [], stderr: [] };
    try {
      for await (const item of client.readOutput(executionId))
        if (item.type === 'chunk') (item.stream === 1 ? got['stdout'] : got['stderr'])?.push(item.data);
    } catch (error) {
      wrong.push({ what: `its output cannot be read: ${error}`, key });
      continue;
    }
    for (const stream of ['stdout', 'stderr'] as const) {
      const bytes = Buffer.concat(got[stream] ?? []);
      const promised = command[`${stream}_bytes`];
      if (!work[stream].subarray(0, bytes.length).equals(bytes))
        wrong.push({ what: `${stream} at the gate is not its`, key });
      if (bytes.length < promised && !isCutShort(receipt))
        wrong.push({ what: `the gate has ${bytes.length} of ${promised} bytes of ${stream}`, key });
      if (`sha256:${sha256(work[stream].subarray(0, promised))}` !== command[`${stream}_hash`])
        wrong.push({ what: `the receipt’s hash of ${stream} is of something else`, key });
    }
  }
  for (const client of clients.values()) client.close();
}

// Output of what died with its host may be lost between there and the gate; what is handed over is right all the same.
const isCutShort = ({ ended }: Signed): boolean => ended === 'executor_restart';

/** SUCCEEDED to CANCELLED of ExecutionState (execution.proto), as SQL; LOST is none of them. */
export const over = '(5, 6, 7, 8, 9)';

function auditStores({ dataDir, stateDir }: Scene, wrong: Wrong[]): void {
  const databases = {
    gate: join(dataDir(), 'gate.db'),
    ...Object.fromEntries(hosts.map((it) => [it, journalOf(stateDir(it))])),
  };
  for (const [whose, path] of Object.entries(databases))
    for (const row of ask(path, 'PRAGMA quick_check'))
      if (row['quick_check'] !== 'ok')
        wrong.push({ what: `the database of ${whose}: ${row['quick_check']}` });
}

/** What has not come to its end: runs at the gate, receipts and output that hosts still owe it. Empty: all is at rest. */
export function unsettled({ dataDir, stateDir }: Scene): Wrong[] {
  const open = ask(
    join(dataDir(), 'gate.db'),
    `SELECT contract_id, state FROM executions WHERE state NOT IN ${over}`,
  );
  return [
    ...open.map((row) => ({
      what: `the gate has it in state ${row['state']}`,
      key: String(row['contract_id']),
    })),
    ...hosts.flatMap((host) => [
      ...ask(
        journalOf(stateDir(host)),
        'SELECT execution_id FROM executions WHERE acknowledged_at IS NULL',
      ).map((row) => ({
        what: `host ${host} still owes execution ${row['execution_id']}`,
      })),
      ...readdirSync(join(stateDir(host), 'spool')).map((name) => ({
        what: `host ${host} still has ${name}`,
      })),
    ]),
  ];
}

const journalOf = (stateDir: string): string => join(stateDir, 'journal.sqlite');

function ask(path: string, sql: string): Record<string, unknown>[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

/** What is left on the machine once all has ended. */
export function auditLeftovers({ fleet, place, executors }: Scene): Wrong[] {
  const processes = readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(place.witness);
    } catch {
      return false;
    }
  });
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(fleet.directory) && !line.startsWith('csc-test '));
  const found: Wrong[] = [];
  const pids = new Set(Object.values(executors).flatMap((it) => it.pids));
  const groups = globSync('/sys/fs/cgroup/**/csc-jobs-*').filter((path) =>
    pids.has(Number(/csc-jobs-(\d+)-/.exec(basename(path))?.[1])),
  );
  if (groups.length > 0) found.push({ what: `cgroups are left: ${groups}` });
  if (processes.length > 0) found.push({ what: `processes of jobs are left: ${processes}` });
  if (mounts.length > 0) found.push({ what: `mounts are left: ${mounts}` });
  return found;
}

function counted<T>(all: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  return counts;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
