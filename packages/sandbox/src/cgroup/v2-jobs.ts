import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { below, type GroupDirectories, makeGroup, removeDirectory, removeNow } from './group.ts';
import { controllers, type Hierarchies, readControl, writeControl } from './hierarchy.ts';
import { toLeafName } from './names.ts';
import type { Setting } from './settings.ts';

/** A common group of jobs, and how it is given back. */
export interface JobsGroup {
  readonly directories: GroupDirectories;
  /** What is still in it is left where it is. */
  close(): void;
}

/** For tests: whom to move, and other controllers than those that jobs need. */
export interface V2Options {
  readonly pid?: number;
  readonly enable?: readonly string[];
}

/**
 * Makes the common group of a v2 tree. A group with limited groups below it may hold no processes itself (cgroup-v2.rst,
 * "No Internal Process Constraint"). So the executor moves into a leaf of its own group, where that is its alone; else
 * root goes to the hierarchy's root. Throws what the kernel says.
 */
export function makeV2Jobs(
  { own, mounts }: Pick<Hierarchies, 'own' | 'mounts'>,
  name: string,
  settings: readonly Setting[],
  { pid = process.pid, enable = controllers }: V2Options = {},
): JobsGroup {
  try {
    // The host's topmost group, which alone has no type, is free of that constraint.
    if (!existsSync(join(own.memory, 'cgroup.type'))) return makeIn(own.memory, name, settings, enable);
    return makeBesideLeaf(own.memory, name, settings, { pid, enable });
  } catch (error) {
    if (process.getuid?.() !== 0 || own.memory === mounts.memory) throw error;
    return makeIn(mounts.memory, name, settings, enable);
  }
}

function makeBesideLeaf(
  own: string,
  name: string,
  settings: readonly Setting[],
  { pid, enable }: Required<V2Options>,
): JobsGroup {
  const leafName = toLeafName();
  // Already there: this process has another common group open.
  const home = basename(own) === leafName ? dirname(own) : own;
  const leave = enterLeaf(home, join(home, leafName), pid);
  try {
    const jobs = makeIn(home, name, settings, enable);
    return {
      directories: jobs.directories,
      close() {
        jobs.close();
        leave();
      },
    };
  } catch (error) {
    leave();
    throw error;
  }
}

// The way back, as far as it goes, gives up the controllers too that were not there before. Another common group that is
// still open keeps the leaf (EBUSY); the next start's sweep then removes it.
function enterLeaf(home: string, leaf: string, pid: number): () => void {
  const before = readEnabled(home);
  mkdirSync(leaf, { recursive: true });
  try {
    writeControl(join(leaf, 'cgroup.procs'), String(pid));
  } catch (error) {
    removeDirectory(leaf);
    throw error;
  }
  return () => {
    try {
      const added = readEnabled(home).filter((controller) => !before.includes(controller));
      setControllers(home, '-', added);
      writeControl(join(home, 'cgroup.procs'), String(pid));
      removeDirectory(leaf);
    } catch {
      // It stays.
    }
  };
}

function makeIn(
  parent: string,
  name: string,
  settings: readonly Setting[],
  enable: readonly string[],
): JobsGroup {
  setControllers(parent, '+', enable);
  const directories = below({ memory: parent, pids: parent, cpu: parent }, name);
  makeGroup(directories, settings);
  try {
    setControllers(directories.memory, '+', enable);
  } catch (error) {
    removeNow(directories);
    throw error;
  }
  return { directories, close: () => void removeNow(directories) };
}

function readEnabled(group: string): string[] {
  return (readControl(join(group, 'cgroup.subtree_control')) ?? '').trim().split(' ').filter(Boolean);
}

function setControllers(group: string, sign: '+' | '-', names: readonly string[]): void {
  const value = names.map((controller) => `${sign}${controller}`).join(' ');
  writeControl(join(group, 'cgroup.subtree_control'), value);
}
