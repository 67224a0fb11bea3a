export { checkDatabase, type DatabaseFile, prepareDatabaseFile, whole } from './database.ts';
