import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isOnlyOf } from '../host/index.ts';
import type { SandboxPlan } from '../plan/index.ts';

/**
 * csc-launcher, a small program of this package's own (native/csc-launcher.c), which does what Node cannot: it makes
 * pipes, and starts a program with nothing of what this process has. Absent where it was not compiled, or not for such a
 * machine, or where somebody else could have changed it, as a root executor starts it as root: then Debian's own tools
 * do the same, more slowly.
 */
export function findCscLauncher(): string | undefined {
  return findOwnFile(`csc-launcher-${process.arch}`);
}

/**
 * csc-confine, a module for Node (native/confine) by which a process becomes no other program from then on. Absent where
 * csc-launcher would be.
 */
export function findCscConfine(): string | undefined {
  return findOwnFile(`csc-confine-${process.arch}.node`);
}

function findOwnFile(name: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  // Beside the sources and beside what is made of them alike; a bundle has it below itself.
  const places = [`../../bin/${name}`, `./bin/${name}`];
  const users = [0, process.getuid?.()];
  // As far as this file says it too: whoever could change the directories above both would be this program already.
  return places
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find((path) => existsSync(path) && [path, dirname(path)].every((it) => isOnlyOf(statSync(it), users)));
}

/** Where prlimit(1) is: part of util-linux, which is essential on Debian. */
export const prlimitPath = '/usr/bin/prlimit';

/** A way to start a program in the state that a plan wants, whatever the state of this process is. */
export interface StartLine {
  readonly program: string;
  readonly args: readonly string[];
  /** What is left to `spawn`: whom the program runs as. */
  readonly credentials?: { readonly uid: number; readonly gid: number };
  /** True: umask, nice and OOM score are left to the caller. */
  readonly rest: boolean;
}

/** What a program is started with by the launcher that stays. */
export interface JobStart {
  /** This process's descriptors by their number there. */
  readonly descriptors: ReadonlyMap<number, number | 'ignore'>;
  /** Descriptors of cgroup files that the process writes itself into. */
  readonly joins: readonly number[];
  /** True: it gets a network namespace of its own, which no other program has or had. */
  readonly ownNetwork: boolean;
  /** Its PATH, the one variable that it has. */
  readonly path: string;
  readonly program: readonly string[];
}

/** What the launcher that stays reads of a job (docs/launcher.md): words, each with a NUL at its end. Pure. */
export function toJobText(
  { credentials, rlimits, umask }: Started,
  { descriptors, joins, ownNetwork, path, program }: JobStart,
): Buffer {
  const places = [...descriptors].flatMap(([to, from]) => (from === 'ignore' ? [] : `${from}>${to}`));
  const { uid, gid } = credentials ?? { uid: '-', gid: '-' };
  const words = [
    ...[places.join(','), joins.join(',') || '-', ownNetwork ? 'own' : '-'],
    ...[uid, gid, umask.toString(8), toLimitList(rlimits)],
    ...['1', `PATH=${path}`, ...program],
  ];
  return Buffer.from(words.map((word) => `${word}\0`).join(''));
}

function toLimitList(rlimits: Started['rlimits']): string {
  return (
    Object.entries(rlimits)
      .map(([name, value]) => `${name}=${value}`)
      .join(',') || '-'
  );
}

type Started = Pick<SandboxPlan, 'credentials' | 'rlimits' | 'umask'>;

/** The command line that starts `program`. Pure. */
export function toStartLine(
  plan: Started,
  program: readonly string[],
  launcher: string | undefined,
): StartLine {
  return launcher === undefined ? toToolsLine(plan, program) : toLauncherLine(plan, program, launcher);
}

function toLauncherLine(
  { credentials, rlimits, umask }: Started,
  program: readonly string[],
  launcher: string,
): StartLine {
  const { uid, gid } = credentials ?? { uid: '-', gid: '-' };
  const words = [uid, gid, umask.toString(8), toLimitList(rlimits)].map(String);
  return { program: launcher, args: ['exec', ...words, '--', ...program], rest: false };
}

// A program that only passes on: limits, the scheduling class, the I/O class and signals, in this order. Node's spawn
// gives the ordinary signals back their default, but none of the real-time ones.
function toToolsLine({ credentials, rlimits }: Started, program: readonly string[]): StartLine {
  const limits = Object.entries(rlimits).map(([name, value]) => `--${name}=${value}`);
  const chain = ['/usr/bin/chrt', '--other', '0', '/usr/bin/ionice', '-c', '2', '-n', '4'];
  const signals = ['/usr/bin/env', '--default-signal'];
  return {
    program: prlimitPath,
    args: [...limits, '--', ...chain, ...signals, ...program],
    ...(credentials === undefined ? {} : { credentials }),
    rest: true,
  };
}
