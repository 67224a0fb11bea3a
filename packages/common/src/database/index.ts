export { type BackedUp, backUp, restoreBackup } from './backup.ts';
export {
  checkBeginning,
  checkDatabase,
  checkMeanwhile,
  type DatabaseFile,
  prepareDatabaseFile,
  whole,
} from './database.ts';
