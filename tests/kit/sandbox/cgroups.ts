import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GroupDirectories } from '../../../packages/sandbox/src/cgroup/group.ts';
import { findOwn } from '../../../packages/sandbox/src/cgroup/own.ts';

/** For tests: this process's own v1 groups. */
export function ownGroups(): GroupDirectories {
  const found = findOwn();
  if (found?.mechanism !== 'cgroup-v1') throw new Error('these tests need cgroup v1 controllers');
  return found.own;
}

/** For tests: where the v2 tree is mounted, whatever controllers it has. */
export function v2Mount(): string {
  const point = /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(
    readFileSync('/proc/self/mountinfo', 'utf8'),
  )?.[1];
  if (point === undefined) throw new Error('these tests need a cgroup v2 tree');
  return point;
}

/** For tests: one directory for all controllers, as v2 has it. */
export function everywhere(directory: string): GroupDirectories {
  return { memory: directory, pids: directory, cpu: directory };
}

/** For tests: a Python program that first waits for `proceed`. */
export function startPython(program: string): { child: ChildProcess; pid: number; proceed(): void } {
  const child = spawn('/usr/bin/python3', ['-c', `import sys; sys.stdin.read(1)\n${program}`], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  if (child.pid === undefined) throw new Error('python3 did not start');
  return { child, pid: child.pid, proceed: () => void child.stdin?.end('x') };
}

/** For tests: how a process ends, once nobody has its output open any more. */
export async function untilEnd(child: ChildProcess) {
  const output: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, stdout: Buffer.concat(output).toString() };
}

/** For tests: who is in a group. */
export function readMembers(directory: string): number[] {
  return readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
}
