export { type BackedUp, backUp, restoreBackup } from './backup.ts';
export { Commits, type CommitsOptions } from './commits.ts';
export {
  checkBeginning,
  checkDatabase,
  checkMeanwhile,
  type DatabaseFile,
  prepareDatabaseFile,
  whole,
} from './database.ts';
export { lockStatement, openLock, takeLock } from './lock.ts';
export { MovedError, movedCode } from './place.ts';
export { errorCode, type SyncFile, sizeOfLog, WriteAheadLog } from './write-ahead-log.ts';
