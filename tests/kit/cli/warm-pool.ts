import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Finished } from '../process.ts';

/** A command line for a csc that stays, and what it writes on both pipes once that has ended. */
export interface WarmCall {
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly mark: string;
}

interface Warm {
  readonly child: ChildProcess;
  readonly closed: Promise<readonly [number | null, NodeJS.Signals | null]>;
}

const program = fileURLToPath(new URL('warm-csc.ts', import.meta.url));
const idle: Warm[] = [];

function warm(): Warm {
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const closed = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('close', (code, signal) => resolve([code, signal]));
    child.on('error', reject);
  });
  return { child, closed };
}

/** Runs a command line in a csc that has nothing else to do, or in a new one. */
export async function callWarm(call: Omit<WarmCall, 'mark'>): Promise<Finished> {
  const one = idle.pop() ?? warm();
  const { child, closed } = one;
  hold(child);
  const mark = `\0${randomUUID()}:`;
  const ends = [readTo(child.stdout, mark), readTo(child.stderr, mark)] as const;
  child.send({ ...call, mark });
  const [stdout, stderr] = await Promise.all(ends);
  const said = { stdout: stdout.text, stderr: stderr.text };
  if (stdout.code === undefined) {
    const [code, signal] = await closed;
    return { code, signal, ...said };
  }
  release(child);
  idle.push(one);
  return { code: stdout.code, signal: null, ...said };
}

/** What comes until the mark, with the number after it; or until the end, without. */
function readTo(stream: ChildProcess['stdout'], mark: string): Promise<{ text: string; code?: number }> {
  if (stream === null) throw new Error('the pipe is missing');
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const settle = (): void => {
      const [text = '', code] = Buffer.concat(parts).toString().split(mark);
      stream.off('data', onData);
      stream.off('end', settle);
      resolve(code === undefined ? { text } : { text, code: Number(code) });
    };
    const onData = (data: Buffer): void => {
      parts.push(data);
      // The mark comes last and in one piece, or the rest of it does.
      const tail = Buffer.concat(parts.slice(-2));
      if (tail.includes(mark) && tail.at(-1) === 0x0a) settle();
    };
    stream.on('data', onData);
    stream.on('end', settle);
  });
}

function hold(child: ChildProcess): void {
  child.ref();
  child.channel?.ref();
  for (const pipe of [child.stdout, child.stderr]) if (pipe instanceof Socket) pipe.ref();
}

/** One that is idle keeps nobody up: it ends with us. */
function release(child: ChildProcess): void {
  child.unref();
  child.channel?.unref();
  for (const pipe of [child.stdout, child.stderr]) if (pipe instanceof Socket) pipe.unref();
}
