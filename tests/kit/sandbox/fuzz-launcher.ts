// Sends csc-launcher what no executor would: `node fuzz-launcher.ts PROGRAM SECONDS SEED CASES`, as a process of its own,
// whose descriptors the jobs may name. Stops after so many seconds, or after so many cases where there are none. Prints a
// FuzzReport as JSON.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { openContent } from '../../../packages/sandbox/src/host/scratch.ts';
import { childrenOf } from './find-processes.ts';

export interface FuzzReport {
  readonly cases: number;
  /** How often each kind of answer came. */
  readonly heard: Readonly<Record<string, number>>;
  /** What must never be: crashes, hangs, reports of a sanitizer. Each with the case that it came of. */
  readonly faults: readonly string[];
}

const [program = '', seconds = '0', seed = '1', most = '300'] = process.argv.slice(2);
const kinds = ['', 'ready', 'taken', 'ended', 'refused', 'pipe'];
const heard: Record<string, number> = {};
const faults: string[] = [];
const patienceMs = 30_000;

// mulberry32: small, and the same everywhere.
let state = Number(seed) >>> 0;
function random(below: number): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
}
const pick = <Value>(values: readonly [Value, ...Value[]]): Value =>
  values[random(values.length)] ?? values[0];

interface Event {
  readonly kind: string;
  readonly id: number;
  readonly numbers: readonly number[];
}

class Launcher {
  readonly #child: ChildProcess;
  readonly #control: Socket;
  readonly #events: Event[] = [];
  #text = '';
  #rest = Buffer.alloc(0);
  #exit: string | undefined;
  #wake = (): void => undefined;

  constructor() {
    this.#child = spawn(program, ['serve', String(process.pid)], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: { ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'print_stacktrace=1' },
    });
    this.#control = this.#child.stdio[3] as Socket;
    this.#control.on('error', () => undefined).on('data', (chunk: Buffer) => this.#take(chunk));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#text = (this.#text + text).slice(-100_000);
    });
    this.#child.once('exit', (code, signal) => {
      this.#exit = String(signal ?? code);
      this.#wake();
    });
  }

  /** How it ended; undefined as long as it runs. */
  get exit(): string | undefined {
    return this.#exit;
  }

  /** What was written to its standard error since the last call. */
  takeText(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  childCount(): number {
    return childrenOf(this.#child.pid).length;
  }

  send(bytes: Buffer): void {
    this.#control.write(bytes);
  }

  close(): void {
    this.#control.end();
  }

  /** The first event that is one of these; undefined where none comes in time, or it has ended. */
  async next(wanted: (event: Event) => boolean): Promise<Event | undefined> {
    for (const end = Date.now() + patienceMs; Date.now() < end; ) {
      const at = this.#events.findIndex(wanted);
      if (at >= 0) return this.#events.splice(0, at + 1).at(-1);
      if (this.#exit !== undefined) return undefined;
      await Promise.race([new Promise<void>((done) => (this.#wake = done)), sleep(100)]);
    }
    return undefined;
  }

  async ended(): Promise<string | undefined> {
    for (const end = Date.now() + patienceMs; this.#exit === undefined && Date.now() < end; )
      await Promise.race([new Promise<void>((done) => (this.#wake = done)), sleep(100)]);
    return this.#exit;
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (; this.#rest.length >= 20; this.#rest = this.#rest.subarray(20)) {
      const kind = kinds[this.#rest.readUInt32LE(0)] ?? 'unknown';
      const numbers = [8, 12, 16].map((at) => this.#rest.readInt32LE(at));
      heard[kind] = (heard[kind] ?? 0) + 1;
      this.#events.push({ kind, id: this.#rest.readUInt32LE(4), numbers });
    }
    this.#wake();
  }
}

function request(kind: number, id: number, job: number, group = -1): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(kind >>> 0, 0);
  bytes.writeUInt32LE(id >>> 0, 4);
  bytes.writeInt32LE(job | 0, 8);
  bytes.writeInt32LE(group | 0, 12);
  return bytes;
}

const nothing = openSync('/dev/null', 'r+');
const tokens: readonly [string, ...string[]] = [
  ...([
    '-',
    '',
    '0',
    '1',
    '-1',
    '4294967295',
    '4294967296',
    '99999999999999999999',
    '60000>3',
    '1>60000',
  ] as const),
  ...['nofile=1', 'nofile=', '=', 'x=1', 'core=0,', ',', '0777', '1000', '>', `${nothing}>0`, '2147483647'],
];

function goodWords(): string[] {
  return [
    `${nothing}>1,${nothing}>2`,
    String(nothing),
    random(2) === 0 ? 'own' : '-',
    '-',
    '-',
    '022',
    'core=0,nofile=64',
    '1',
    'PATH=/',
    '/bin/true',
  ];
}

// Mostly good, and around the most that there may be.
function placeList(): string {
  const length = pick([random(1100), 1022 + random(6)]);
  const entry = (): string => (random(2000) === 0 ? pick(tokens) : `${nothing}>${random(1200)}`);
  return Array.from({ length }, entry).join(',');
}

function mutatedText(): Buffer {
  const words = goodWords();
  for (let rounds = random(4); rounds > 0; rounds -= 1) {
    const at = random(words.length + 1);
    const act = random(5);
    if (act === 0) words.splice(at, 1);
    else if (act === 1) words.splice(at, 0, pick(tokens));
    else if (act === 2) words[at] = pick(tokens);
    else if (act === 3) words[pick([0, 1, at])] = placeList();
    else words.push(...Array.from({ length: random(3000) }, () => 'x'));
  }
  const bytes = Buffer.from(words.map((word) => `${word}\0`).join(''));
  if (random(40) === 0) return Buffer.alloc((4 << 20) + random(3) - 1);
  if (random(4) === 0)
    for (let flips = random(4); flips >= 0; flips -= 1) bytes[random(bytes.length)] = random(256);
  return random(8) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
}

const crashes = new Set([4, 6, 7, 8, 11, 31]);

async function runJob(
  launcher: Launcher,
  id: number,
  text: Buffer,
  group: number,
): Promise<string | undefined> {
  const fd = openContent(text, '/dev/shm');
  const bytes = request(1, id, random(20) === 0 ? random(70_000) : fd, group);
  const cut = random(17);
  launcher.send(bytes.subarray(0, cut));
  if (random(4) === 0) await sleep(1);
  launcher.send(bytes.subarray(cut));
  if (random(10) === 0) launcher.send(request(2, random(3) === 0 ? id + 1 : id, -1));
  const event = await launcher.next((it) => it.id === id && (it.kind === 'ended' || it.kind === 'refused'));
  closeSync(fd);
  // A job may have written to any descriptor of this process, the launcher's own socket among them.
  if (event === undefined) return launcher.exit === '0' ? undefined : `no end of a job (${launcher.exit})`;
  return event.kind === 'ended' && crashes.has(event.numbers[1] ?? 0)
    ? `a child crashed: ${event.numbers}`
    : undefined;
}

async function askForPipes(launcher: Launcher): Promise<string | undefined> {
  const count = pick([0, 1, 64, 65, -1, 2_147_483_647, random(100)]);
  launcher.send(request(3, 0, count));
  const end = await launcher.next((it) => it.kind === 'pipe' && it.numbers[0] === -1);
  if (random(2) === 0) launcher.send(request(4, 0, -1));
  return end === undefined ? 'no end of pipes' : undefined;
}

// What is no message ends it, in order.
async function confuse(launcher: Launcher): Promise<string | undefined> {
  launcher.send(request(pick([0, 5, 0xffffffff, 6 + random(1_000_000)]), random(99), random(99)));
  const exit = await launcher.ended();
  return exit === '0' ? undefined : `it ended with ${exit}`;
}

async function cutOff(launcher: Launcher): Promise<string | undefined> {
  launcher.send(request(1, 1, nothing).subarray(0, random(16)));
  launcher.close();
  const exit = await launcher.ended();
  return exit === '0' ? undefined : `it ended with ${exit}`;
}

async function oneCase(launcher: Launcher, id: number): Promise<string | undefined> {
  const what = random(60);
  if (what === 0) return await confuse(launcher);
  if (what === 1) return await cutOff(launcher);
  if (what < 8) return await askForPipes(launcher);
  if (what < 10) return void launcher.send(request(2, random(1000), -1));
  return await runJob(launcher, id, mutatedText(), pick([-1, -1, -1, -1, nothing, 60_000, -2]));
}

const until = Date.now() + Number(seconds) * 1000;
let launcher = new Launcher();
let cases = 0;
for (; faults.length < 5 && (Number(seconds) > 0 ? Date.now() < until : cases < Number(most)); cases += 1) {
  if (launcher.exit !== undefined) launcher = new Launcher();
  const fault = await oneCase(launcher, cases + 1);
  const report = /.*(?:Sanitizer|runtime error).*/s.exec(launcher.takeText())?.[0];
  if (fault !== undefined || report !== undefined)
    faults.push(`case ${cases}: ${fault ?? ''} ${report ?? ''}`);
  if (launcher.exit !== undefined && launcher.exit !== '0')
    faults.push(`case ${cases}: it ended with ${launcher.exit}`);
  // After whatever came, it does what it is there for, and keeps no more than those that wait.
  if (cases % 16 !== 15 || launcher.exit !== undefined) continue;
  const text = Buffer.from(
    goodWords()
      .map((word) => `${word}\0`)
      .join(''),
  );
  const fd = openContent(text, '/dev/shm');
  launcher.send(request(1, 0x7fff_ffff, fd));
  const end = await launcher.next((it) => it.kind === 'ended' && it.id === 0x7fff_ffff);
  closeSync(fd);
  if (launcher.exit === undefined && end?.numbers.join() !== '0,0,0')
    faults.push(`case ${cases}: a good job ended with ${end?.numbers}`);
  if (launcher.exit === undefined && launcher.childCount() > 5)
    faults.push(`case ${cases}: ${launcher.childCount()} children`);
}
launcher.close();
await launcher.ended();
// On a line of its own: a job may have written here as well.
console.log(`\n${JSON.stringify({ cases, heard, faults } satisfies FuzzReport)}`);
process.exit(0);
