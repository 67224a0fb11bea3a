export {
  addFile,
  addFiles,
  checkOnlineKey,
  checkRoot,
  defaultLifetimes,
  findDamage,
  hasDraft,
  initRepository,
  type Lifetimes,
  publishedStamp,
  publishStaged,
  type RepositoryKeys,
  type RepositoryStatus,
  refreshPublished,
  removeFile,
  repositoryStatus,
  rootBytes,
  rotateRoot,
  type SignedRoles,
  type StagedStatus,
  type Stop,
  signStaged,
  stageStop,
  standingFiles,
  workspaceFiles,
} from './authoring.ts';
export {
  type KeptContent,
  type KeptRepository,
  type KeptVersion,
  readKeptContent,
  verifyKept,
} from './kept.ts';
export type { RoleKeys } from './metadata.ts';
export {
  createPolicyMirror,
  type MirrorOptions,
  type PolicyMirror,
  type PublishedPolicy,
  type RepositorySource,
} from './mirror.ts';
export { type Files, isOwnersFile, type OwnersFiles, readOwnersFiles } from './owners-files.ts';
export { createDirectorySource, isServedPath } from './source.ts';
