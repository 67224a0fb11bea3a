import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive } from '../launch/processes.ts';
import { killGroup, openGroup } from './group.ts';
import { controllers } from './hierarchy.ts';
import { findJobsOwner } from './names.ts';
import { findOwn } from './open-cgroups.ts';

// A service's group may be some levels down, and it may have been started elsewhere the last time.
const deepest = 5;

/** Ends and removes what executors that are gone have left in cgroups. Resolves to how many groups that were. */
export async function sweepCgroups(): Promise<number> {
  const hierarchies = findOwn();
  if (hierarchies === undefined) return 0;
  const roots = new Set(controllers.map((controller) => hierarchies.mounts[controller]));
  let swept = 0;
  for (const root of roots) {
    for (const abandoned of findAbandoned(root, deepest)) {
      for (const run of listDirectories(abandoned)) await end(join(abandoned, run));
      await end(abandoned);
      swept += 1;
    }
  }
  return swept;
}

async function end(directory: string): Promise<void> {
  const directories = { memory: directory, pids: directory, cpu: directory };
  await killGroup(directories);
  await openGroup('cgroup-v1', directories).remove();
}

function findAbandoned(directory: string, levels: number): string[] {
  return listDirectories(directory).flatMap((name) => {
    const path = join(directory, name);
    const owner = findJobsOwner(name);
    if (owner !== undefined) return isAlive(owner) ? [] : [path];
    return levels > 0 ? findAbandoned(path, levels - 1) : [];
  });
}

function listDirectories(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
