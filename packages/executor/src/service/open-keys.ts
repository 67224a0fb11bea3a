import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isCoveredBy } from '@csc-fleet/common/paths';
import { type JobUser, maySurely, resolveJobUsers } from '@csc-fleet/sandbox/host';
import type { ExecutorConfig } from './config.ts';
import { findKept } from './own-host.ts';

/** Around a config, and no further: a fleet that was set up in one folder has `pki` and `policy-repository/keys` there. */
const mostLevels = 2;
const mostEntries = 500;

/**
 * The private keys near this config that a job could read, where a policy covers them, sorted: files named *.key around it and up to
 * two directories below, whose mode lets a job's user read them, below path_roots, and which this config does not keep from jobs by
 * itself. They are others' keys: the owners', the CA's, a gate's. At most 500 entries are looked at; what cannot be looked at is
 * none. In mode `local` none is named.
 */
export function findOpenKeys(configPath: string, config: ExecutorConfig): string[] {
  // Whose jobs have all rights of its user, and which says so.
  if (config.executionMode === 'local') return [];
  const users = jobUsersOf(config);
  const { pathRoots } = config.ceiling;
  const places = [
    config.stateDir,
    ...findKept(configPath, config).flatMap((it) => (it.isSecret ? [it.path] : [])),
  ];
  const hidden = places.map(toReal);
  return keyFiles(toReal(dirname(resolve(configPath))))
    .filter((file) => isCoveredBy(file, pathRoots) && !isCoveredBy(file, hidden))
    .filter((file) => users.some((user) => mayRead(file, user)))
    .filter(isPrivateKey)
    .sort();
}

/** Their names, as a line has room for them; undefined where there is none. */
export function nameOpenKeys(files: readonly string[]): string | undefined {
  if (files.length === 0) return undefined;
  const more = files.length > mostNamed ? ` and ${files.length - mostNamed} more` : '';
  return `${files.slice(0, mostNamed).join(', ')}${more}`;
}

const mostNamed = 5;

/** What is said of them, for people. */
export const openKeysNote = 'private keys lie where jobs can read them as soon as a policy covers the place';
export const openKeysRemedy =
  'take the keys of owners, CA, gates and clients off this host, or close them to the users of jobs, and keep path_roots clear of where csc has its files';

function jobUsersOf({ runAs }: ExecutorConfig): readonly JobUser[] {
  const own = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
  // A run_as that names nobody is for others to refuse.
  return orElse<readonly JobUser[]>(() => resolveJobUsers(runAs, own).all, []);
}

function keyFiles(directory: string): string[] {
  let left = mostEntries;
  const look = (at: string, levels: number): string[] =>
    entriesOf(at).flatMap((entry) => {
      if (left <= 0) return [];
      left -= 1;
      const path = join(at, entry.name);
      if (entry.isDirectory()) return levels > 0 ? look(path, levels - 1) : [];
      return entry.isFile() && entry.name.endsWith('.key') ? [path] : [];
    });
  return look(directory, mostLevels);
}

function entriesOf(directory: string) {
  return orElse(() => readdirSync(directory, { withFileTypes: true }), []);
}

function toReal(path: string): string {
  return orElse(() => realpathSync(path), resolve(path));
}

// By modes alone: whoever reads it by an access list or by another group of its user is not found here.
function mayRead(file: string, user: JobUser): boolean {
  return orElse(() => {
    for (let at = dirname(file); ; at = dirname(at)) {
      if (!maySurely('enter', statSync(at), user)) return false;
      if (at === '/') return maySurely('read', lstatSync(file), user);
    }
  }, false);
}

function isPrivateKey(file: string): boolean {
  return orElse(() => {
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const head = Buffer.alloc(64);
      const [line = ''] = head.toString('latin1', 0, readSync(descriptor, head)).split('\n', 1);
      return /^-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(line);
    } finally {
      closeSync(descriptor);
    }
  }, false);
}

// What goes or is closed while it is looked at is no news of a service that starts.
function orElse<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
