export { Archive, reconcileArchive, withArchive } from './archive.ts';
export {
  type ArchivedReceipt,
  archiveDirectory,
  listSegments,
  readArchive,
  readArchived,
  readRecords,
} from './segments.ts';
