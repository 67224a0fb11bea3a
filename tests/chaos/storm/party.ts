import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { cscBin } from '@csc-fleet/test-kit/process';

export interface PartyOptions {
  readonly name: string;
  /** Of `csc`. */
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** A command line that becomes the one that follows it. Absent: none. */
  readonly through?: readonly string[];
  /** Where its output goes, of all its lives. */
  readonly log: string;
}

// As systemd does with `Restart=always` (deploy/systemd).
const restartMs = 2000;

/** A service of the storm: a real process that is ended, stopped and started again, also where it ended by itself. */
export class Party {
  readonly name: string;
  readonly #options: PartyOptions;
  #child: ChildProcess | undefined;
  #isEnding = false;
  #restart: NodeJS.Timeout | undefined;
  /** Of all its lives. */
  readonly pids: number[] = [];
  /** Ends that nobody asked for, but for a start that was refused for want of descriptors, with a word. */
  readonly ownEnds: string[] = [];

  constructor(options: PartyOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.isRunning ? this.#child?.pid : undefined;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get log(): string {
    return readFileSync(this.#options.log, 'utf8');
  }

  start(): void {
    if (this.isRunning) return;
    clearTimeout(this.#restart);
    const { args, env, log, through = [] } = this.#options;
    const [program, ...rest] = [...through, process.execPath, cscBin, ...args];
    const output = openSync(log, 'a');
    const from = fstatSync(output).size;
    const child = spawn(program ?? '', rest, {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    });
    closeSync(output);
    this.#child = child;
    if (child.pid !== undefined) this.pids.push(child.pid);
    this.#isEnding = false;
    child.once('exit', (code, signal) => {
      if (this.#isEnding) return;
      this.#restart = setTimeout(() => this.start(), restartMs);
      const said = readFileSync(log).toString('utf8', from);
      if ((code === 69 || code === 70) && /^ERROR .*(file descriptors|too many open files)/m.test(said))
        return;
      this.ownEnds.push(
        `${this.name} ended by itself at ${new Date().toISOString()}: ${signal ?? `exit ${code}`}: ${said.slice(-500)}`,
      );
    });
  }

  /** Waits for a text in the log that was not there `from`. */
  async logged(pattern: RegExp, from: number): Promise<void> {
    while (!pattern.test(this.log.slice(from))) {
      if (!this.isRunning)
        throw new Error(`${this.name} ended before it logged ${pattern}:\n${this.log.slice(from)}`);
      await sleep(50);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it; resolves once it is gone. A drain that takes too long is cut off. */
  async end(signal: 'SIGTERM' | 'SIGKILL', patienceMs = 30_000): Promise<void> {
    const child = this.#child;
    clearTimeout(this.#restart);
    if (child === undefined || !this.isRunning) return;
    this.#isEnding = true;
    const gone = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    await gone;
    clearTimeout(late);
  }
}

/** Pids of all that descends from a process, itself left out. */
export function descendants(root: number): { readonly pid: number; readonly name: string }[] {
  const children = new Map<number, { pid: number; name: string }[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // proc_pid_stat(5): the name is in parentheses and may hold any of them.
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]);
      children.set(parent, [...(children.get(parent) ?? []), { pid: Number(entry), name }]);
    } catch {
      // It has ended meanwhile.
    }
  }
  const of = (pid: number): { pid: number; name: string }[] =>
    (children.get(pid) ?? []).flatMap((child) => [child, ...of(child.pid)]);
  return of(root);
}
