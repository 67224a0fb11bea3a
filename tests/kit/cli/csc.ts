import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const bin =
  process.env['CSC_BIN'] ?? fileURLToPath(new URL('../../../packages/cli/bin/csc.js', import.meta.url));

/** What a csc command gave. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real `csc` with pipes on all three sides. */
export async function csc(
  args: readonly string[],
  options: { readonly input?: string | Buffer; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<Finished> {
  const child = spawn(process.execPath, [bin, ...args], {
    stdio: 'pipe',
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (data: Buffer) => out.push(data));
  child.stderr.on('data', (data: Buffer) => err.push(data));
  // A command that has no use for its input closes the pipe.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
}

/** A scratch directory of one test, and a way to put files there. */
export interface Scratch {
  readonly directory: string;
  /** Writes text, bytes, or anything else as JSON; gives the path. */
  write(name: string, content: string | Buffer | object): string;
}

export function createScratch(): Scratch {
  const directory = mkdtempSync(join(tmpdir(), 'csc-cli-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return {
    directory,
    write: (name, content) => {
      const path = join(directory, name);
      const isRaw = typeof content === 'string' || Buffer.isBuffer(content);
      writeFileSync(path, isRaw ? content : JSON.stringify(content), { mode: 0o600 });
      return path;
    },
  };
}
