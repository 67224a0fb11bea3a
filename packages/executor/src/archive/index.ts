export { Archive, findLostTime, reconcileArchive, withArchive } from './archive.ts';
export {
  type ArchivedReceipt,
  archiveDirectory,
  type DueSegment,
  dueSegments,
  listSegments,
  readArchive,
  readArchived,
  readRecords,
} from './segments.ts';
