import type { Metadata, Root } from '@tufjs/models';
import { toTimestamp } from '../encoding/index.ts';
import { findDamage } from './damage.ts';
import { type AnyMetadata, type RoleName, signedAtOf, signedBy, toTargets } from './metadata.ts';
import {
  at,
  currentRoot,
  publishedTargets,
  publishedTimestamp,
  readMetadata,
  stagedRoot,
  stagedStop,
  workspaceFiles,
} from './workspace.ts';

/** Where a repository stands, for people and for programs. */
export interface RepositoryStatus {
  readonly root: RoleStatus;
  readonly targets?: RoleStatus;
  readonly stagedRoot?: StagedStatus;
  readonly stagedTargets?: StagedStatus;
  /** Until when hosts take what is published without a refresh. Absent: nothing is published. */
  readonly freshUntil?: string;
  /** When it was last signed that this is the newest. Absent: nothing is published, or the timestamp says no date. */
  readonly vouchedAt?: string;
  readonly files: readonly string[];
  /** What is published and is not what was signed: hosts refuse it. Absent: nothing. */
  readonly damaged?: readonly string[];
}

export interface RoleStatus {
  readonly version: number;
  readonly expires: string;
  /** Absent: it says no date. */
  readonly signedAt?: string;
}

export interface StagedStatus extends RoleStatus {
  readonly signatures: number;
  readonly threshold: number;
}

/** Throws FILE_UNREADABLE where there is no repository. */
export function repositoryStatus(directory: string): RepositoryStatus {
  const root = currentRoot(directory);
  const targets = publishedTargets(directory);
  const staged = stagedStop(directory) ?? readMetadata(at.staged(directory, 'targets'), toTargets);
  const rootStaged = stagedRoot(directory);
  const timestamp = publishedTimestamp(directory);
  const { expires: freshUntil, signedAt: vouchedAt } = timestamp === undefined ? {} : toStatus(timestamp);
  const damaged = findDamage(directory);
  return {
    root: toStatus(root),
    files: [...workspaceFiles(directory).keys()],
    ...(targets === undefined ? {} : { targets: toStatus(targets) }),
    ...(rootStaged === undefined ? {} : { stagedRoot: toStagedStatus(root, 'root', rootStaged) }),
    ...(staged === undefined ? {} : { stagedTargets: toStagedStatus(root, 'targets', staged) }),
    ...(freshUntil === undefined ? {} : { freshUntil }),
    ...(vouchedAt === undefined ? {} : { vouchedAt }),
    ...(damaged.length === 0 ? {} : { damaged }),
  };
}

function toStatus(metadata: AnyMetadata): RoleStatus {
  const { version, expires } = metadata.signed;
  const signedAt = signedAtOf(metadata);
  return { version, expires, ...(signedAt === undefined ? {} : { signedAt: toTimestamp(signedAt) }) };
}

function toStagedStatus(judge: Metadata<Root>, role: RoleName, metadata: AnyMetadata): StagedStatus {
  const threshold = judge.signed.roles[role]?.threshold ?? 1;
  return { ...toStatus(metadata), threshold, signatures: signedBy(judge.signed, role, metadata).length };
}
