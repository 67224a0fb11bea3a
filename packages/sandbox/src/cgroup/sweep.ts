import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isAlive } from '@csc-fleet/common/processes';
import { killGroup, openGroup, removeDirectory } from './group.ts';
import { controllers } from './hierarchy.ts';
import { findOwner } from './names.ts';
import { findOwn } from './own.ts';

// A service's group may be some levels down, and it may have been started elsewhere the last time: a user's service is
// at user.slice/user-N.slice/user@N.service/app.slice/NAME.service, and its leaf below that.
const deepest = 7;

/**
 * Ends and removes what executors that are gone have left in cgroups. Resolves to how many common groups that were.
 * @param roots where to look. Default: all of every hierarchy that jobs are limited by
 */
export async function sweepCgroups(roots: readonly string[] = findRoots()): Promise<number> {
  const swept = new Set<string>();
  for (const { kind, path } of roots.flatMap((root) => findAbandoned(root, deepest))) {
    if (kind === 'executor') {
      // Only if it is empty: no job was ever in it, and what else may live on there is not ours to end.
      removeDirectory(path);
    } else {
      for (const run of listDirectories(path)) await end(join(path, run));
      await end(path);
      // With v1 it is there once a hierarchy.
      swept.add(basename(path));
    }
  }
  return swept.size;
}

function findRoots(): string[] {
  const { mounts } = findOwn() ?? {};
  return mounts === undefined ? [] : [...new Set(controllers.map((controller) => mounts[controller]))];
}

async function end(directory: string): Promise<void> {
  const directories = { memory: directory, pids: directory, cpu: directory };
  await killGroup(directories);
  await openGroup('cgroup-v1', directories).remove();
}

interface Abandoned {
  readonly kind: 'jobs' | 'executor';
  readonly path: string;
}

function findAbandoned(directory: string, levels: number): Abandoned[] {
  return listDirectories(directory).flatMap((name) => {
    const path = join(directory, name);
    const owner = findOwner(name);
    if (owner !== undefined) return isAlive(owner.process) ? [] : [{ kind: owner.kind, path }];
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
