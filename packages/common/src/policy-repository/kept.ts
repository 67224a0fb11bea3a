import type { Metadata, Root, Targets } from '@tufjs/models';
import { type Approvers, parseApprovers } from '../approval/index.ts';
import { artifactBytes, sha256Hex, toTimestamp } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import {
  type OwnersLog,
  parseIssuers,
  parseLog,
  parseRevoked,
  type Revocation,
  type SignedVersion,
} from '../owners/index.ts';
import { parsePolicy } from '../policy/index.ts';
import { hasBoundedMembers, signedAtOf, toHashedName, toRoot, toTargets } from './metadata.ts';
import { type Files, isOwnersFile } from './owners-files.ts';

/** What the owners have signed of a published folder that somebody kept, by the root that the caller brings. */
export interface KeptRepository {
  /** In words, each with the file that it is of. None: all that is here is the owners'. */
  readonly faults: readonly string[];
  /** The version of the last root that the pinned one leads to. */
  readonly root: number;
  /** Those that verified, the oldest first. */
  readonly versions: readonly KeptVersion[];
  /** Below all of those, where the pinned root is not the first: signed by nobody from that on, and counted for nothing. */
  readonly earlier: readonly number[];
}

/** One version of what the owners have signed. */
export interface KeptVersion extends SignedVersion {
  /** By their names in the repository. */
  readonly files: Files;
  /** Names of those that it has, and that are not here as they were signed. */
  readonly missing: readonly string[];
}

/** What auditors need of one version, file by file: what an older csc cannot read leaves the others standing. */
export interface KeptContent {
  /** In words. */
  readonly faults: readonly string[];
  /** The hashes that receipts name its profiles by, lower-case hex. */
  readonly policies: ReadonlySet<string>;
  /** Of tokens, by their URLs. */
  readonly issuers: ReadonlySet<string>;
  /** As written: nobody who was revoked is left out. */
  readonly approvers?: Approvers;
  readonly revoked: readonly Revocation[];
  readonly log?: OwnersLog;
}

// Of a repository that publishes each hour, more than a year.
const mostVersions = 10_000;
const maxMetadataBytes = 5_000_000;
const mostFaults = 1000;

/**
 * Verifies `metadata/N.root.json`, `metadata/N.targets.json` and `targets/` of a published folder without a clock (TUF
 * §5.3.4, 5.6.3). A version may be by any root from the pinned on, as an old one is by those who signed then; but none
 * is that only keys have signed which were rotated out before a version below it. Snapshot and timestamp are not looked
 * at: they say what is the newest, by the key of whoever serves it. Throws what the models throw where the pinned root
 * itself does not verify; whatever is in `files` is at most a fault.
 * @param files by their paths in the folder
 */
export function verifyKept(files: ReadonlyMap<string, Uint8Array>, pinnedRoot: Uint8Array): KeptRepository {
  const faults = new Faults();
  const roots = walkRoots(files, pinnedRoot, faults);
  const versions: KeptVersion[] = [];
  const earlier: number[] = [];
  const standing = new Set<string>();
  // The lowest root that a version so far has needed.
  let needed = 0;
  for (const { path, version, bytes } of findVersions(files, faults)) {
    const targets = faults.tell(path, () => readTargets(bytes, version));
    if (targets === undefined) continue;
    const signing = roots.filter((root) => hasSigned(root, targets)).map(({ signed }) => signed.version);
    const [oldest, newest] = [signing[0], signing.at(-1)];
    if (oldest === undefined || newest === undefined) {
      // Whoever pins a root of later on has the versions of before in the same folder.
      if (versions.length > 0 || roots[0]?.signed.version === 1)
        faults.add(path, whyUnsigned(roots, targets));
      else {
        earlier.push(version);
        takeFiles(targets.signed, files, standing);
      }
    } else if (newest < needed)
      faults.add(path, `only keys have signed it that root ${needed} has rotated out before`);
    else {
      needed = Math.max(needed, oldest);
      const own = takeFiles(targets.signed, files, standing);
      versions.push({ version, root: newest, ...timesOf(targets), ...own });
    }
  }
  for (const path of files.keys())
    if (!isMetadata.test(path) && !standing.has(path))
      faults.add(path, 'no targets that the owners have signed name it as it is');
  return { faults: faults.all, root: roots.at(-1)?.signed.version ?? 0, versions, earlier };
}

const isMetadata = /^metadata\/(?:\d+\.)?(?:root|targets|snapshot|timestamp)\.json$/;

class Faults {
  readonly all: string[] = [];

  add(path: string, why: string): void {
    if (this.all.length < mostFaults) this.all.push(`${path} is not the owners’: ${why}`);
  }

  /** Undefined where it throws: then that is a fault. */
  tell<T>(path: string, verify: () => T): T | undefined {
    try {
      return verify();
    } catch (error) {
      this.add(path, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }
}

// The pinned root, and each after it that the one before and it itself have signed.
function walkRoots(
  files: ReadonlyMap<string, Uint8Array>,
  pinnedRoot: Uint8Array,
  faults: Faults,
): Metadata<Root>[] {
  let last = toRoot(pinnedRoot);
  last.verifyDelegate('root', last);
  const roots = [last];
  for (;;) {
    const version = last.signed.version + 1;
    const path = `metadata/${version}.root.json`;
    const bytes = files.get(path);
    if (bytes === undefined) break;
    const next = faults.tell(path, () => {
      checkSize(bytes);
      const root = toRoot(bytes);
      checkVersion(root, version);
      last.verifyDelegate('root', root);
      root.verifyDelegate('root', root);
      return root;
    });
    if (next === undefined) break;
    roots.push(next);
    last = next;
  }
  for (const path of files.keys()) {
    const version = Number(/^metadata\/(\d+)\.root\.json$/.exec(path)?.[1] ?? 0);
    if (version > last.signed.version + 1)
      faults.add(path, `no root leads to it from version ${last.signed.version} on`);
  }
  return roots;
}

function findVersions(files: ReadonlyMap<string, Uint8Array>, faults: Faults) {
  const found = [...files].flatMap(([path, bytes]) => {
    const [, number] = /^metadata\/([1-9]\d{0,14})\.targets\.json$/.exec(path) ?? [];
    return number === undefined ? [] : [{ path, version: Number(number), bytes }];
  });
  const sorted = found.sort((one, other) => one.version - other.version);
  const more = sorted[mostVersions];
  if (more !== undefined)
    faults.add(more.path, `there are more than ${mostVersions} versions: none from this on is read`);
  return sorted.slice(0, mostVersions);
}

function readTargets(bytes: Uint8Array, version: number): Metadata<Targets> {
  checkSize(bytes);
  const targets = toTargets(bytes);
  checkVersion(targets, version);
  signedAtOf(targets);
  return targets;
}

function hasSigned(root: Metadata<Root>, targets: Metadata<Targets>): boolean {
  try {
    root.verifyDelegate('targets', targets);
    return true;
  } catch {
    return false;
  }
}

// In the words of the models: how many of how many.
function whyUnsigned(roots: readonly Metadata<Root>[], targets: Metadata<Targets>): string {
  try {
    roots.at(-1)?.verifyDelegate('targets', targets);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return 'no root here has its keys';
}

function timesOf(targets: Metadata<Targets>): Pick<KeptVersion, 'expires' | 'signedAt'> {
  const signedAt = signedAtOf(targets);
  return {
    expires: targets.signed.expires,
    ...(signedAt === undefined ? {} : { signedAt: toTimestamp(signedAt) }),
  };
}

function checkSize(metadata: Uint8Array): void {
  if (metadata.length > maxMetadataBytes || !hasBoundedMembers(metadata))
    throw new Error('it is more than a host takes');
}

function checkVersion({ signed }: Metadata<Root> | Metadata<Targets>, version: number): void {
  if (signed.version !== version) throw new Error(`it says that it is version ${signed.version}`);
}

function takeFiles(
  { targets }: Targets,
  here: ReadonlyMap<string, Uint8Array>,
  standing: Set<string>,
): Pick<KeptVersion, 'files' | 'missing'> {
  const files = new Map<string, Uint8Array>();
  const missing: string[] = [];
  for (const [name, { length, hashes }] of Object.entries(targets)) {
    const sha256 = hashes['sha256'] ?? '';
    const path = `targets/${toHashedName(name, sha256)}`;
    const bytes = here.get(path);
    if (bytes !== undefined && bytes.length === length && sha256Hex(bytes) === sha256) {
      standing.add(path);
      files.set(name, bytes);
    } else if (isOwnersFile(name)) missing.push(name);
  }
  return { files, missing };
}

type Parse<T> = (bytes: Uint8Array) => Parsed<T>;

// Versions have most of their files in common: the same bytes, which are read once.
function memoized<T>(parse: Parse<T>): Parse<T> {
  const known = new WeakMap<Uint8Array, Parsed<T>>();
  return (bytes) => {
    const parsed = known.get(bytes) ?? parse(bytes);
    known.set(bytes, parsed);
    return parsed;
  };
}

const once = {
  parsePolicy: memoized(parsePolicy),
  parseApprovers: memoized(parseApprovers),
  parseIssuers: memoized(parseIssuers),
  parseLog: memoized(parseLog),
  parseRevoked: memoized(parseRevoked),
};

/** What the files of a version say to whoever reads evidence of it. */
export function readKeptContent({ version, files, missing }: KeptVersion): KeptContent {
  const faults = missing.map(
    (name) => `${name} of version ${version} is not here as the owners have signed it`,
  );
  const read = <T>(name: string, parse: Parse<T>): T | undefined => {
    const bytes = files.get(name);
    if (bytes === undefined) return undefined;
    const parsed = bytes.length > artifactBytes.ownersFile ? undefined : parse(bytes);
    if (parsed?.ok === true) return parsed.value;
    const [first] = parsed?.faults ?? [];
    faults.push(
      `${name} of version ${version} cannot be read by this csc: ${first === undefined ? 'it is too long' : `${first.path} ${first.message}`.trim()}`,
    );
    return undefined;
  };
  const policies = [...files.keys()].flatMap((name) =>
    /^policies\/.*(?<!\.samples)\.yaml$/.test(name) && isOwnersFile(name)
      ? (read(name, once.parsePolicy)?.sha256 ?? [])
      : [],
  );
  const approvers = read('approvers.yaml', once.parseApprovers);
  const log = read('log.yaml', once.parseLog);
  return {
    policies: new Set(policies),
    issuers: new Set(read('issuers.yaml', once.parseIssuers)?.issuers.map(({ issuer }) => issuer)),
    revoked: read('revoked.yaml', once.parseRevoked)?.revoked ?? [],
    ...(approvers === undefined ? {} : { approvers }),
    ...(log === undefined ? {} : { log }),
    faults,
  };
}
