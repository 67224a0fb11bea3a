// The metadata of TUF 1.0 as the owners make it. What a host verifies, tuf-js verifies: see mirror.ts.
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
import { canonicalBytes, type JsonObject, sha256Hex } from '../encoding/index.ts';
import type { Files } from './owners-files.ts';

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

/** Unsigned targets: the files, each by its length and hash. */
export function createTargets(files: Files, version: number, expires: Date): Metadata<Targets> {
  const targets = [...files].map(([path, bytes]) => [
    path,
    new TargetFile({ path, length: bytes.length, hashes: { sha256: sha256Hex(bytes) } }),
  ]);
  return new Metadata(
    new Targets({ ...signedMembers(version, expires), targets: Object.fromEntries(targets) }),
  );
}

/** An unsigned snapshot of one version of the targets. */
export function createSnapshot(
  targets: Uint8Array,
  targetsVersion: number,
  version: number,
  expires: Date,
): Metadata<Snapshot> {
  const meta = { 'targets.json': toMetaFile(targets, targetsVersion) };
  return new Metadata(new Snapshot({ ...signedMembers(version, expires), meta }));
}

/** An unsigned timestamp of one version of the snapshot. */
export function createTimestamp(
  snapshot: Uint8Array,
  snapshotVersion: number,
  version: number,
  expires: Date,
): Metadata<Timestamp> {
  const snapshotMeta = toMetaFile(snapshot, snapshotVersion);
  return new Metadata(new Timestamp({ ...signedMembers(version, expires), snapshotMeta }));
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

function parseJson(bytes: Uint8Array): JsonObject & Record<string, never> {
  return JSON.parse(Buffer.from(bytes).toString('utf8'));
}

function toMetaFile(bytes: Uint8Array, version: number): MetaFile {
  return new MetaFile({ version, length: bytes.length, hashes: { sha256: sha256Hex(bytes) } });
}

function signedMembers(version: number, expires: Date) {
  return { version, specVersion, expires: toTufTime(expires) };
}

// TUF's dates have no fraction of a second.
function toTufTime(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, 'Z');
}
