export { type BackedUp, backUp, restoreBackup } from './backup.ts';
export { checkDatabase, type DatabaseFile, prepareDatabaseFile, whole } from './database.ts';
