import { statSync } from 'node:fs';
import { toHashedName, toSnapshotMetadata, toTargets } from './metadata.ts';
import { at, holds, orUndefined, publishedTimestamp, readMetadata } from './workspace.ts';

/**
 * What lies in a published folder and is not what was signed, from the timestamp on: hosts would refuse it. Names as in
 * `targets/policies/HASH.build.yaml`; none where all is well or nothing is published. No signature is verified.
 * @param directory the folder above `published`
 */
export function findDamage(directory: string): string[] {
  return publishedParts(directory)
    .filter(({ path, sha256 }) => !holds(path, sha256))
    .map(({ name }) => name);
}

/** Changes whenever one of the files that findDamage reads does: cheap to ask. */
export function publishedStamp(directory: string): string {
  return publishedParts(directory)
    .map(({ path }) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return `${path} ${stat?.ino} ${stat?.size} ${stat?.mtimeMs} ${stat?.ctimeMs}`;
    })
    .join('\n');
}

interface PublishedPart {
  readonly name: string;
  readonly path: string;
  readonly sha256: string | undefined;
}

function publishedParts(directory: string): PublishedPart[] {
  const timestamp = orUndefined(() => publishedTimestamp(directory));
  if (timestamp === undefined) return [];
  const { version, hashes } = timestamp.signed.snapshotMeta;
  const metadata = (name: string, sha256: string | undefined): PublishedPart => ({
    name: `metadata/${name}`,
    path: at.metadata(directory, name),
    sha256,
  });
  const first = metadata(`${version}.snapshot.json`, hashes?.['sha256']);
  const meta = orUndefined(() => readMetadata(first.path, toSnapshotMetadata))?.signed.meta['targets.json'];
  if (meta === undefined) return [first];
  const second = metadata(`${meta.version}.targets.json`, meta.hashes?.['sha256']);
  const targets = orUndefined(() => readMetadata(second.path, toTargets))?.signed.targets ?? {};
  const files = Object.values(targets).map(({ path, hashes: { sha256 = '' } }) => {
    const name = toHashedName(path, sha256);
    return { name: `targets/${name}`, path: at.target(directory, name), sha256 };
  });
  return [first, second, ...files];
}
