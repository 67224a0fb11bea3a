import { type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { advised, type Check, failed, passed } from './check.ts';
import { findClosedParent, mayMake } from './job-access.ts';
import { type Accounts, type JobUser, type JobUsers, readAccounts } from './run-as.ts';

/**
 * Whether a pool's users can meet in their write scopes. That each is there, is not root and is there once has been seen
 * to by then. Nothing for a host where all runs have one user.
 * @param pathRoots what the host's owner opens to jobs at all; "/" says nothing of where they write
 */
export function examinePool(
  { all, pooled }: JobUsers,
  pathRoots: readonly string[],
  accounts: Accounts = readAccounts(),
): Check[] {
  if (!pooled) return [];
  const roots = pathRoots.filter((root) => root !== '/');
  return [
    examineMembers(all, accounts),
    examineShells(all, accounts),
    ...roots.flatMap((root) => examineRoot(root, all[0])),
  ];
}

// An id without an account is nobody's, and needs no group to be in.
function examineMembers(all: readonly JobUser[], { users, groups }: Accounts): Check {
  for (const { name, uid, gid, group } of all) {
    const own = users.find((account) => account.name === name && account.uid === uid);
    if (name === undefined || own === undefined || own.gid === gid) continue;
    if (groups.some((it) => it.gid === gid && it.members.includes(name))) continue;
    const what = group ?? String(gid);
    return failed('job-pool', `${name} is not in the group ${what}`, `usermod -aG ${what} ${name}`);
  }
  return passed('job-pool', `${all.length} users, all in one group`);
}

function examineShells(all: readonly JobUser[], { shells }: Accounts): Check {
  const name = all
    .map((user) => user.name ?? '')
    .find((it) => !/^$|nologin$|false$/.test(shells?.get(it) ?? ''));
  if (name === undefined) return passed('job-pool-shells', 'nobody can log in as one of them');
  const remedy = `usermod --shell /usr/sbin/nologin ${name}`;
  return advised('job-pool-shells', `${name} has a login shell`, remedy);
}

// Only what jobs write below it needs that, so it is advice.
function examineRoot(root: string, user: JobUser): Check[] {
  const stats = statSync(root, { throwIfNoEntry: false });
  // As `examineRoots` says of it.
  if (stats === undefined) return [];
  if (isShared(stats, user)) return [passed('job-pool-scopes', `${root} is the pool's to write`)];
  const group = user.group ?? user.gid;
  const remedy = `where jobs are to write: chgrp ${group} ${root} && chmod g+rwxs ${root}, and so with what is in it`;
  return [
    advised('job-pool-scopes', `${root} is not of the group ${group}, setgid and writable by it`, remedy),
  ];
}

function isShared({ gid, mode }: Stats, user: JobUser): boolean {
  return gid === user.gid && (mode & 0o2070) === 0o2070;
}

/**
 * Whether what the host's owner opens to jobs is there, and they can enter it, and where all have one user, make files
 * there. Of a pool, `examinePool` says the latter.
 * @param pathRoots as there
 */
export function examineRoots(users: JobUsers, pathRoots: readonly string[]): Check[] {
  const [user] = users.all;
  const usable = pathRoots.filter((root) => root !== '/' && whyUnusable(root, user) === undefined);
  const own = users.pooled ? [] : usable.map((root) => examineOwnRoot(root, user));
  return [...findUnusableRoots(users, pathRoots), ...own];
}

/**
 * Of what the host's owner opens to jobs, what is not there or closed to them: it fails where nothing is left in which
 * anything could run, and is advice where something is.
 * @param pathRoots as there
 */
export function findUnusableRoots({ all: [user] }: JobUsers, pathRoots: readonly string[]): Check[] {
  const found = pathRoots.flatMap((root) => whyUnusable(root, user) ?? []);
  const judge = found.length < pathRoots.length ? advised : failed;
  return found.map(({ detail, remedy }) => judge(rootsName, detail, remedy));
}

const rootsName = 'job-scopes';

function whyUnusable(root: string, user: JobUser): { detail: string; remedy: string } | undefined {
  const closed = findClosedParent(posix.join(root, 'anything'), user);
  if (closed !== undefined)
    return { detail: `${nameOf(user)} may not enter ${closed}`, remedy: `chmod o+x ${closed}` };
  if (statSync(root, { throwIfNoEntry: false }) !== undefined) return undefined;
  return { detail: `${root} is not there, so that nothing can run in it`, remedy: `mkdir ${root}` };
}

function examineOwnRoot(root: string, user: JobUser): Check {
  const who = nameOf(user);
  if (mayMake(statSync(root), user)) return passed(rootsName, `${who} can write ${root}`);
  const remedy = `where jobs are to write: chown ${user.name ?? user.uid} ${root}, or what of it they are to write`;
  return advised(rootsName, `${who} cannot write ${root}`, remedy);
}

function nameOf({ name, uid }: JobUser): string {
  return name ?? `uid ${uid}`;
}
