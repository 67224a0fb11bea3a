export {
  addFile,
  addFiles,
  defaultLifetimes,
  findDamage,
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
  signStaged,
  workspaceFiles,
} from './authoring.ts';
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
