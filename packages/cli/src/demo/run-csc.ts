import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** How one csc command of the demo ended. */
export interface CscResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The csc that this process is, as an argv to start it again. */
export function cscArgv(): readonly [string, string] {
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
