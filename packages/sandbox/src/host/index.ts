export { decodePath, encodePath, showPath } from './byte-names.ts';
export { advised, type Check, failed, passed, requireChecks } from './check.ts';
export { examinePool, examineRoots, findUnusableRoots } from './examine-pool.ts';
export {
  descriptorPath,
  isWithin,
  type Look,
  lookOnHost,
  maxNames,
  type OpenPath,
  openResolved,
  readLink,
  type Walk,
  walkPath,
} from './host-path.ts';
export { lockJobUsers, lockStateDirectory } from './instance-locks.ts';
export {
  findClosedParent,
  mayExecute,
  mayFill,
  mayMake,
  mayRead,
  maySurely,
  mayWrite,
} from './job-access.ts';
export { type JobUserLeases, JobUserPool, shareUser, type UserLease } from './job-user-pool.ts';
export { isOnlyOf, keepOwnFile, readOwnFile, toFileKey } from './own-file.ts';
export { toMarkedPath, toUntoldName } from './owned-names.ts';
export {
  findCommand,
  innerPid,
  sendSignal,
  signalProcess,
  waitUntilGone,
  withUmask,
} from './processes.ts';
export { examineProgramFile, examineTools, toolPath } from './programs.ts';
export { findProxyUser, isPool, type JobUser, type JobUsers, type RunAs, resolveJobUsers } from './run-as.ts';
export {
  createSharedContent,
  openContent,
  openNameKey,
  type SharedContent,
  treePrefix,
} from './scratch.ts';
export { sweepLeftovers } from './sweep.ts';
