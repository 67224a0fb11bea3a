export { type Check, failed, passed, requireChecks } from './check.ts';
export { checkPool } from './check-pool.ts';
export { lockStateDirectory } from './instance-lock.ts';
export { findClosedParent, mayExecute, mayMake, mayWrite } from './job-access.ts';
export { isPool, type RunAs, resolveJobUsers } from './job-user.ts';
export { type JobUserLeases, JobUserPool, shareUser, type UserLease } from './job-users.ts';
export { lockJobUsers } from './lock-job-users.ts';
export { descriptorPath, type OpenPath, openResolved } from './open-path.ts';
export { ownerPattern, parseOwner, toOwnerId } from './owner.ts';
export {
  findCommand,
  identify,
  innerPid,
  isAlive,
  type ProcessId,
  sendSignal,
  signalProcess,
  waitUntilGone,
} from './processes.ts';
export { checkProgramFile, checkTools, toolPath } from './programs.ts';
export {
  defaultScratchDirectory,
  findScratchOwner,
  openContent,
  openNameKey,
  toScratchPath,
} from './scratch.ts';
export { sweepLeftovers } from './sweep.ts';
export { toUntoldName } from './untold-names.ts';
export { isWithin, lookOnHost, type Walk, walkPath } from './walk.ts';
