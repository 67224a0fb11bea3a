import { type BundleReport, type OwnersWord, places } from '@csc-fleet/common/audit-bundle';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import type { OwnersLog } from '@csc-fleet/common/owners';

/** What of a bundle's `repository/` the owners have signed, and which log is theirs by the newest of it. */
export interface SignedOwners {
  readonly word: OwnersWord;
  /** Absent: they name none. */
  readonly log?: OwnersLog;
}

/**
 * Verifies it by a root that the auditor has.
 * @param path root.json, as hosts pin it. Throws FILE_UNREADABLE, and CONFIG_INVALID where it is no root
 */
export async function readOwners(
  files: ReadonlyMap<string, Uint8Array>,
  path: string,
): Promise<SignedOwners> {
  const { checkRoot, readKeptContent, verifyKept } = await import('@csc-fleet/common/policy-repository');
  const { bytes } = readBoundedFile(path, { maxBytes: 1024 * 1024 });
  checkRoot(bytes, path);
  const kept = orConfigInvalid(path, () => verifyKept(repositoryOf(files), bytes));
  const byVersion = new Map(kept.versions.map((it) => [it.version, it]));
  const newest = kept.versions.at(-1);
  const log = newest === undefined ? undefined : readKeptContent(newest).log;
  const word = {
    ...kept,
    faults: kept.faults.map((it) => `${places.repository}${it}`),
    read: (version: number) => {
      const found = byVersion.get(version);
      return found === undefined ? undefined : readKeptContent(found);
    },
  };
  return log === undefined ? { word } : { word, log };
}

function repositoryOf(files: ReadonlyMap<string, Uint8Array>): Map<string, Uint8Array> {
  const { repository } = places;
  return new Map(
    [...files].flatMap(([path, bytes]) =>
      path.startsWith(repository) ? [[path.slice(repository.length), bytes]] : [],
    ),
  );
}

function orConfigInvalid<T>(path: string, verify: () => T): T {
  try {
    return verify();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CscError('CONFIG_INVALID', `${path} is not signed by its own keys: ${why}`, { cause });
  }
}

/** In words: what was held against the owners' root, and what is only the bundle's word. */
export function describeOwners({ owners }: BundleReport, hasRepository: boolean): string[] {
  if (owners === undefined) {
    const what = hasRepository
      ? 'repository/: THAT THE OWNERS SIGNED IT WAS NOT VERIFIED, nor that the policies are of it: who may approve, and what was revoked, is'
      : 'THAT THE OWNERS SIGNED THE POLICIES WAS NOT VERIFIED: what they are is';
    return [`${what} the bundle’s own word. Give --owners-root, the root.json that hosts pin`];
  }
  const { root, versions, earlier, unnumbered } = owners;
  const used = versions.filter(({ receipts }) => receipts > 0);
  const newest = versions.at(-1);
  return [
    `repository/ verified by the owners’ root, on to root ${root}: policies, approvers.yaml, revoked.yaml, issuers.yaml and log.yaml are theirs; when they expire was not judged`,
    ...used.map(
      ({ version, receipts, signedAt, root: by, expires }) =>
        `version ${version} of the owners’ files, signed ${signedAt === undefined ? '' : `at ${signedAt} `}by keys of root ${by}, expires ${expires}: ${receipts} runs`,
    ),
    ...(newest === undefined ? [] : [`version ${newest.version} is the newest that is here`]),
    ...(unnumbered === 0
      ? []
      : [`${unnumbered} runs by hosts that name no version: their policies are of some version here`]),
    ...(earlier.length === 0
      ? []
      : [
          `${earlier.length} versions of before that root, up to ${earlier.at(-1)}, count for nothing: a root of theirs verifies them`,
        ]),
  ];
}

/** The same for programs. */
export function ownersToJson({ owners }: BundleReport): object {
  if (owners === undefined)
    return { verified: false, bundles_word: ['policies', 'approvers.yaml', 'revoked.yaml', 'issuers.yaml'] };
  return {
    verified: true,
    root: owners.root,
    versions: owners.versions.map(({ signedAt, ...it }) => ({ ...it, signed_at: signedAt ?? null })),
    earlier_versions: owners.earlier,
    receipts_without_version: owners.unnumbered,
  };
}
