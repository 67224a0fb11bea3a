import { EqualVersionError } from 'tuf-js/dist/error.js';
import { TrustedMetadataStore } from 'tuf-js/dist/store.js';
import { artifactBytes, sha256Hex } from '../encoding/index.ts';
import { CscError, isCscError } from '../errors/index.ts';
import { hasBoundedMembers, toHashedName, toRoot, toTargets } from './metadata.ts';
import { type Files, isOwnersFile } from './owners-files.ts';

/** Where the published files come from: a gate, a directory. Whoever hands them over is believed nothing. */
export interface RepositorySource {
  /**
   * The bytes of `metadata/NAME` or `targets/NAME`; undefined where there is no such file. May reject with whatever
   * stands in the way.
   */
  fetch(path: string): Promise<Uint8Array | undefined>;
}

/** How long a source may take, in milliseconds. */
export interface SourceDeadlines {
  /** For one file. */
  readonly fileMs: number;
  /** For all that one refresh asks for. */
  readonly refreshMs: number;
}

/** The most that each role's file may have, in bytes: what tuf-js takes by itself. */
const metadataBytes = { root: 512_000, timestamp: 16_384, snapshot: 2_000_000, targets: 5_000_000 } as const;
const maxRootRotations = 256;
const maxAllTargetBytes = 64 * 1_048_576;

type Role = keyof typeof metadataBytes;

/** The metadata of one version, as it was signed. */
export type RoleBytes = Readonly<Record<Role, Buffer>>;

/** Of whoever has heard nothing yet: the pinned root. */
export type KnownMetadata = Pick<RoleBytes, 'root'> & Partial<RoleBytes>;

/**
 * The newest metadata, verified from what is known on (TUF §5.3 to 5.6). tuf-js says of each file whether it counts; its own
 * client does that only with what it can write down, and a host whose disk is full is to hear its owners too. Throws what the
 * models and `SourceReader` throw.
 */
export async function fetchMetadata(known: KnownMetadata, reader: SourceReader): Promise<RoleBytes> {
  const trusted = new TrustedMetadataStore(known.root);
  const root = await followRoots(trusted, known.root, reader);
  const timestamp = await takeTimestamp(trusted, known.timestamp, reader);
  // Without consistent snapshots, names have no versions (TUF §6.2).
  const named = (role: Role, version: number | undefined) =>
    trusted.root.signed.consistentSnapshot ? `${version}.${role}.json` : `${role}.json`;
  const take = async (role: Role, version: number | undefined, update: (bytes: Buffer) => void) => {
    const bytes = await reader.metadata(role, named(role, version));
    update(bytes);
    return bytes;
  };
  const isSnapshot = (bytes: Buffer) => counts(() => trusted.updateSnapshot(bytes, true));
  const snapshot =
    known.snapshot !== undefined && isSnapshot(known.snapshot)
      ? known.snapshot
      : await take('snapshot', trusted.timestamp?.signed.snapshotMeta.version, (bytes) =>
          trusted.updateSnapshot(bytes),
        );
  const updateTargets = (bytes: Buffer) => trusted.updateDelegatedTargets(bytes, 'targets', 'root');
  const { targets: kept } = known;
  const targets =
    kept !== undefined && counts(() => updateTargets(kept))
      ? kept
      : await take('targets', trusted.snapshot?.signed.meta['targets.json']?.version, updateTargets);
  return { root, timestamp, snapshot, targets };
}

// TUF §5.3: from version to version.
async function followRoots(
  trusted: TrustedMetadataStore,
  first: Buffer,
  reader: SourceReader,
): Promise<Buffer> {
  let root = first;
  for (let count = 0; count < maxRootRotations; count++) {
    const next = await reader.find('root', `${trusted.root.signed.version + 1}.root.json`);
    if (next === undefined) break;
    trusted.updateRoot(next);
    root = next;
  }
  return root;
}

// TUF §5.4: the one before is only what the next must not go back behind.
async function takeTimestamp(
  trusted: TrustedMetadataStore,
  known: Buffer | undefined,
  reader: SourceReader,
): Promise<Buffer> {
  if (known !== undefined) counts(() => trusted.updateTimestamp(known));
  const offered = await reader.find('timestamp', 'timestamp.json');
  // Every repository has one: where it is missing, there is none.
  if (offered === undefined) throw reader.unreachable(nothingPublished());
  try {
    trusted.updateTimestamp(offered);
    return offered;
  } catch (error) {
    if (known !== undefined && error instanceof EqualVersionError) return known;
    throw error;
  }
}

function counts(update: () => unknown): boolean {
  try {
    update();
    return true;
  } catch {
    return false;
  }
}

/** The owners' files that these targets name, each as it was signed. Throws POLICY_INVALID for more than a host takes. */
export async function fetchTargets({ root, targets }: RoleBytes, reader: SourceReader): Promise<Files> {
  const files = Object.values(toTargets(targets).signed.targets);
  const sizes = files.map(({ length }) => length);
  if (sizes.some((size) => size > artifactBytes.ownersFile) || sum(sizes) > maxAllTargetBytes)
    throw tooMuch();
  const { consistentSnapshot } = toRoot(root).signed;
  const taken = new Map<string, Uint8Array>();
  for (const { path, length, hashes } of files) {
    if (!isOwnersFile(path)) continue;
    const [first = ''] = Object.values(hashes);
    const bytes = await reader.need(`targets/${consistentSnapshot ? toHashedName(path, first) : path}`);
    if (bytes.length !== length || sha256Hex(bytes) !== hashes['sha256'])
      throw new Error(`${path} is not what the owners have signed`);
    taken.set(path, bytes);
  }
  return taken;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

/** One refresh's way to its source. Nothing else is waited for in it, so that its deadlines bound the whole. */
export class SourceReader {
  readonly #source: RepositorySource;
  readonly #fileMs: number;
  readonly #until: number;
  readonly #stays: string;

  /** @param stays what there is where nothing comes of it, for people */
  constructor(source: RepositorySource, { fileMs, refreshMs }: SourceDeadlines, stays: string) {
    this.#source = source;
    this.#fileMs = fileMs;
    this.#until = performance.now() + refreshMs;
    this.#stays = stays;
  }

  /**
   * A role's file; undefined where there is none. Throws what the source does where that is a CscError,
   * REPOSITORY_UNREACHABLE for all else that keeps it from coming in time, and POLICY_INVALID for one with more members
   * than any may have.
   */
  async find(role: Role, name: string): Promise<Buffer | undefined> {
    const bytes = await this.#get(`metadata/${name}`);
    if (bytes === undefined) return undefined;
    if (bytes.length > metadataBytes[role]) throw new Error(`metadata/${name} is too long`);
    if (!hasBoundedMembers(bytes)) throw tooMuch();
    return Buffer.from(bytes);
  }

  /** The same of one that must be there. */
  async metadata(role: Role, name: string): Promise<Buffer> {
    const bytes = await this.find(role, name);
    if (bytes === undefined) throw new Error(`metadata/${name} is not there`);
    return bytes;
  }

  async need(path: string): Promise<Uint8Array> {
    const bytes = await this.#get(path);
    if (bytes === undefined) throw new Error(`${path} is not there`);
    return bytes;
  }

  /** What is told where a file could not be had. */
  unreachable(cause: unknown): CscError {
    const what = isCscError(cause) ? `: ${cause.message}` : '';
    const message = `the policy repository could not be read, and ${this.#stays}${what}`;
    return new CscError('REPOSITORY_UNREACHABLE', message, { cause });
  }

  async #get(path: string): Promise<Uint8Array | undefined> {
    const ms = Math.max(0, Math.min(this.#fileMs, this.#until - performance.now()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooSlow(path)), ms);
    });
    try {
      return await Promise.race([this.#source.fetch(path), late]);
    } catch (error) {
      throw isCscError(error) ? error : this.unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }
}

function tooMuch(): CscError {
  return new CscError('POLICY_INVALID', 'the policy repository holds more or larger files than a host takes');
}

function tooSlow(path: string): CscError {
  return new CscError('REPOSITORY_UNREACHABLE', `${path} did not come in time; it is asked for again`);
}

function nothingPublished(): CscError {
  const message =
    'no policy repository is published there: name the folder that csc policy publish has written (DIR/published), or have the gate serve it (policy_repository in its config)';
  return new CscError('REPOSITORY_UNREACHABLE', message);
}
