export { findDamage, publishedStamp } from './damage.ts';
export type { RepositorySource } from './fetch.ts';
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
} from './mirror.ts';
export { type Files, isOwnersFile, type OwnersFiles, readOwnersFiles } from './owners-files.ts';
export { checkOnlineKey, publishStaged, refreshPublished } from './publish.ts';
export { createDirectorySource, isServedPath } from './source.ts';
export {
  addFile,
  addFiles,
  checkFiles,
  hasDraft,
  initRepository,
  type RepositoryKeys,
  refuseRepository,
  removeFile,
  rotateRoot,
  type SignedRoles,
  type Stop,
  signStaged,
  stageStop,
} from './stage.ts';
export { type RepositoryStatus, repositoryStatus, type StagedStatus } from './status.ts';
export {
  checkRoot,
  defaultLifetimes,
  type Lifetimes,
  rootBytes,
  standingFiles,
  workspaceFiles,
} from './workspace.ts';
