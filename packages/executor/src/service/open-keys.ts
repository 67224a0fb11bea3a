import {
  closeSync,
  constants,
  type Dir,
  type Dirent,
  lstatSync,
  opendirSync,
  openSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isCoveredBy } from '@csc-fleet/common/paths';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { type JobUser, maySurely, resolveJobUsers } from '@csc-fleet/sandbox/host';
import type { ExecutorConfig } from './config.ts';
import { findKept } from './own-host.ts';

/** Around a config, and no further: a fleet that was set up in one folder has `pki` and `policy-repository/keys` there. */
const mostLevels = 2;
const mostEntries = 500;
/** At every start, in milliseconds: on a disk that is slow, what was found by then is all. */
const mostMs = 250;

/**
 * The private keys near this config that a job could read, sorted: files named *.key around it and up to two
 * directories below, whose mode lets a job's user read them, below path_roots and what the policies that are known let
 * jobs have, and which this config does not keep from jobs by itself. They are others' keys: the owners', the CA's, a
 * gate's. At most 500 entries are looked at, for a quarter of a second; what cannot be looked at is none. In mode
 * `local` none is named.
 * @param policies empty: none is known, and any may come
 */
export function findOpenKeys(
  configPath: string,
  config: ExecutorConfig,
  policies: readonly PolicyDocument[],
): string[] {
  // Whose jobs have all rights of its user, and which says so.
  if (config.executionMode === 'local') return [];
  const users = jobUsersOf(config);
  const { pathRoots } = config.ceiling;
  const opened = policies.flatMap(({ policy }) => [
    ...policy.allowed_read_prefixes,
    ...policy.allowed_write_prefixes,
  ]);
  const places = [
    config.stateDir,
    ...findKept(configPath, config).flatMap((it) => (it.isSecret ? [it.path] : [])),
  ];
  const hidden = places.map(toReal);
  const isOpen = (file: string): boolean =>
    isCoveredBy(file, pathRoots) &&
    (policies.length === 0 || isCoveredBy(file, opened)) &&
    !isCoveredBy(file, hidden) &&
    users.some((user) => mayRead(file, user)) &&
    isPrivateKey(file);
  const found: string[] = [];
  const until = performance.now() + mostMs;
  let left = mostEntries;
  for (const path of entriesAround(toReal(dirname(resolve(configPath))), mostLevels)) {
    if (left-- <= 0 || performance.now() > until) break;
    if (path.endsWith('.key') && isOpen(path)) found.push(path);
  }
  return found.sort();
}

/** Their names, as a line has room for them; undefined where there is none. */
export function nameOpenKeys(files: readonly string[]): string | undefined {
  if (files.length === 0) return undefined;
  const more = files.length > mostNamed ? ` and ${files.length - mostNamed} more` : '';
  return `${files.slice(0, mostNamed).join(', ')}${more}`;
}

const mostNamed = 5;

/** What is said of them, for people. */
export const openKeysNote =
  'private keys lie where jobs can read them, by their modes, path_roots and the policies that are known here';
export const openKeysRemedy =
  'take the keys of owners, CA, gates and clients off this host, or close them to the users of jobs, and keep path_roots clear of where csc has its files';

function jobUsersOf({ runAs }: ExecutorConfig): readonly JobUser[] {
  const own = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
  // A run_as that names nobody is for others to refuse.
  return orElse<readonly JobUser[]>(() => resolveJobUsers(runAs, own).all, []);
}

// One after the other, as a directory may have any number.
function* entriesAround(directory: string, levels: number): Generator<string> {
  const open = orElse(() => opendirSync(directory), undefined);
  if (open === undefined) return;
  try {
    for (let entry = next(open); entry !== null; entry = next(open)) {
      const path = join(directory, entry.name);
      yield path;
      if (entry.isDirectory() && levels > 0) yield* entriesAround(path, levels - 1);
    }
  } finally {
    open.closeSync();
  }
}

function next(directory: Dir): Dirent | null {
  return orElse(() => directory.readSync(), null);
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
    if (!lstatSync(file).isFile()) return false;
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
