import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';

/** How one csc command of the demo ended. */
export interface CscResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The csc that this process is, as an argv to start it again. */
function cscArgv(): readonly [string, string] {
  const [node, script] = process.argv;
  return [node ?? process.execPath, script ?? ''];
}

/** Runs `csc` as a person would, in `cwd`, with pipes instead of a terminal. */
export async function runCsc(
  args: readonly string[],
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<CscResult> {
  const [node, script] = cscArgv();
  const child = spawn(node, [script, ...args], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (data: Buffer) => out.push(data));
  child.stderr.on('data', (data: Buffer) => err.push(data));
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
}

/** A gate or an executor of the demo: a process of its own. */
export interface Service {
  /** The match of what its log says once it is up; rejects with INTERNAL and the end of its log where it is not. */
  readonly ready: Promise<RegExpExecArray>;
  /** Ends it and waits until it is gone. */
  stop(): Promise<void>;
  /** Ends it at once, for a process that is about to exit itself. */
  kill(): void;
}

const startMs = 20_000;
const stopMs = 8_000;
const logShown = 4_000;

/** Starts `csc NAME --config FILE`. */
export function startService(name: 'gate' | 'executor', config: string, ready: RegExp): Service {
  const [node, script] = cscArgv();
  const child = spawn(node, [script, name, '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  return {
    ready: waitFor(child, name, ready),
    stop: () => stop(child),
    kill: () => {
      child.kill('SIGKILL');
    },
  };
}

function waitFor(child: ChildProcess, name: string, ready: RegExp): Promise<RegExpExecArray> {
  const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
  let log = '';
  const fail = (why: string): void =>
    reject(new CscError('INTERNAL', `the ${name} ${why}; its log ends with: ${log.slice(-logShown)}`));
  const timer = setTimeout(() => fail('took too long to start'), startMs);
  child.stderr?.on('data', (data: Buffer) => {
    // Read to the end of its life: a log that nobody reads would block it.
    if (log.length < 1 << 20) log += data.toString();
    const match = ready.exec(log);
    if (match !== null) resolve(match);
  });
  child.once('exit', () => fail('ended'));
  child.once('error', () => fail('could not be started'));
  return promise.finally(() => clearTimeout(timer));
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const patience = new AbortController();
  await Promise.race([gone, sleep(stopMs, undefined, { signal: patience.signal }).catch(() => {})]);
  patience.abort();
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await gone;
}
