// The metadata of TUF 1.0 as the owners make it. What a host verifies, tuf-js verifies: see fetch.ts.
import {
  Key,
  Metadata,
  MetadataKind,
  MetaFile,
  Root,
  Signature,
  Snapshot,
  TargetFile,
  Targets,
  Timestamp,
} from '@tufjs/models';
import type { Signer } from '../crypto/index.ts';
import { canonicalBytes, type JsonObject, parseTimestamp, sha256Hex } from '../encoding/index.ts';
import { CscError } from '../errors/index.ts';
import { type Files, maxOwnersFiles } from './owners-files.ts';

/** The roles of TUF's top level. */
export type RoleName = 'root' | 'targets' | 'snapshot' | 'timestamp';

/** Who must sign for a role. */
export interface RoleKeys {
  /** Ed25519, 32 bytes each. */
  readonly publicKeys: readonly Uint8Array[];
  /** How many of them. */
  readonly threshold: number;
}

/** What a root says: roots and targets are signed offline, snapshot and timestamp by one key that is online. */
export interface RootContent {
  readonly version: number;
  readonly expires: Date;
  readonly root: RoleKeys;
  readonly targets: RoleKeys;
  readonly online: Uint8Array;
}

const specVersion = '1.0.0';

/** A key as TUF has it: its id is the hash of it (TUF §4.2). */
export function toTufKey(publicKey: Uint8Array): Key {
  const content = {
    keytype: 'ed25519',
    scheme: 'ed25519',
    keyval: { public: Buffer.from(publicKey).toString('hex') },
  };
  return Key.fromJSON(sha256Hex(canonicalBytes(content)), content);
}

/** An unsigned root. */
export function createRoot({ version, expires, root, targets, online }: RootContent): Metadata<Root> {
  const roles: Record<RoleName, RoleKeys> = {
    root,
    targets,
    snapshot: { publicKeys: [online], threshold: 1 },
    timestamp: { publicKeys: [online], threshold: 1 },
  };
  const keys = Object.values(roles).flatMap(({ publicKeys }) => publicKeys.map(toTufKey));
  const members = {
    _type: MetadataKind.Root,
    spec_version: specVersion,
    version,
    expires: toTufTime(expires),
    consistent_snapshot: true,
    keys: Object.fromEntries(keys.map((key) => [key.keyID, key.toJSON()])),
    roles: Object.fromEntries(
      Object.entries(roles).map(([name, { publicKeys, threshold }]) => [
        name,
        { keyids: [...new Set(publicKeys.map((key) => toTufKey(key).keyID))], threshold },
      ]),
    ),
  };
  return new Metadata(Root.fromJSON(members));
}

/** When what is signed is to be signed, until when it is good, and which version it is. */
export interface Dates {
  readonly version: number;
  readonly expires: Date;
  /** Which a host holds against its bounds of age. Absent: it goes by when it was asked, as before there was one. */
  readonly signedAt?: Date;
}

/** Unsigned targets: the files, each by its length and hash. */
export function createTargets(files: Files, dates: Dates): Metadata<Targets> {
  const targets = [...files].map(([path, bytes]) => [
    path,
    new TargetFile({ path, length: bytes.length, hashes: { sha256: sha256Hex(bytes) } }),
  ]);
  return new Metadata(new Targets({ ...signedMembers(dates), targets: Object.fromEntries(targets) }));
}

/** An unsigned snapshot of one version of the targets. */
export function createSnapshot(
  targets: Uint8Array,
  targetsVersion: number,
  version: number,
  expires: Date,
): Metadata<Snapshot> {
  const meta = { 'targets.json': toMetaFile(targets, targetsVersion) };
  return new Metadata(new Snapshot({ ...signedMembers({ version, expires }), meta }));
}

/** An unsigned timestamp of one version of the snapshot. */
export function createTimestamp(
  snapshot: Uint8Array,
  snapshotVersion: number,
  dates: Dates,
): Metadata<Timestamp> {
  const snapshotMeta = toMetaFile(snapshot, snapshotVersion);
  return new Metadata(new Timestamp({ ...signedMembers(dates), snapshotMeta }));
}

export type AnyMetadata = Metadata<Root> | Metadata<Targets> | Metadata<Snapshot> | Metadata<Timestamp>;

/** Adds a signature; one of the same key is replaced. */
export function addSignature(metadata: AnyMetadata, signer: Signer): void {
  const { keyID } = toTufKey(signer.publicKey);
  metadata.sign((data) => new Signature({ keyID, sig: Buffer.from(signer.sign(data)).toString('hex') }));
}

/** Metadata as it is published. */
export function toBytes(metadata: AnyMetadata): Buffer {
  return Buffer.from(`${JSON.stringify(metadata.toJSON(), undefined, 1)}\n`);
}

/** Root metadata from its text; what is wrong with it is thrown as it comes from the models. */
export function toRoot(bytes: Uint8Array): Metadata<Root> {
  return Metadata.fromJSON(MetadataKind.Root, parseJson(bytes));
}

export function toTargets(bytes: Uint8Array): Metadata<Targets> {
  return Metadata.fromJSON(MetadataKind.Targets, parseJson(bytes));
}

export function toSnapshotMetadata(bytes: Uint8Array): Metadata<Snapshot> {
  return Metadata.fromJSON(MetadataKind.Snapshot, parseJson(bytes));
}

export function toTimestampMetadata(bytes: Uint8Array): Metadata<Timestamp> {
  return Metadata.fromJSON(MetadataKind.Timestamp, parseJson(bytes));
}

/** When its signers say that they signed; undefined where they do not say. Throws POLICY_INVALID for what is no time. */
export function signedAtOf({ signed }: AnyMetadata): Date | undefined {
  const value = signed.unrecognizedFields['signed_at'];
  if (value === undefined) return undefined;
  const time = typeof value === 'string' ? parseTimestamp(value) : undefined;
  if (time !== undefined) return time;
  throw new CscError('POLICY_INVALID', `signed_at of the ${signed.type} metadata is not a time`);
}

/** The ids of the keys of a role that have signed, validly, whatever the threshold is. */
export function signedBy(root: Root, role: RoleName, metadata: AnyMetadata): string[] {
  const ids = root.roles[role]?.keyIDs ?? [];
  return ids.filter((id) => {
    try {
      root.keys[id]?.verifySignature(metadata);
      return root.keys[id] !== undefined;
    } catch {
      return false;
    }
  });
}

/** What a target is published as: HASH.NAME in the folder of the name (TUF §6.2). */
export function toHashedName(name: string, sha256: string): string {
  const slash = name.lastIndexOf('/') + 1;
  return `${name.slice(0, slash)}${sha256}.${name.slice(slash)}`;
}

/**
 * Whether metadata may be given to the library, which takes time by the square of an object's members, and before it
 * knows who has signed them: whoever has the online key alone could otherwise keep a host from doing anything else.
 * Throws SyntaxError.
 */
export function hasBoundedMembers(metadata: Uint8Array): boolean {
  const values: unknown[] = [JSON.parse(Buffer.from(metadata).toString())];
  for (let value = values.pop(); value !== undefined; value = values.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    const members = Object.values(value);
    if (members.length > maxOwnersFiles) return false;
    values.push(...members);
  }
  return true;
}

function parseJson(bytes: Uint8Array): JsonObject & Record<string, never> {
  return JSON.parse(Buffer.from(bytes).toString('utf8'));
}

function toMetaFile(bytes: Uint8Array, version: number): MetaFile {
  return new MetaFile({ version, length: bytes.length, hashes: { sha256: sha256Hex(bytes) } });
}

// TUF knows no signed_at: who verifies keeps it, as it does every member that it does not know (TUF §4.3).
function signedMembers({ version, expires, signedAt }: Dates) {
  const members = { version, specVersion, expires: toTufTime(expires) };
  return signedAt === undefined
    ? members
    : { ...members, unrecognizedFields: { signed_at: toTufTime(signedAt) } };
}

// TUF's dates have no fraction of a second.
function toTufTime(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, 'Z');
}
