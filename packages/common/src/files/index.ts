export {
  checkWritableDirectory,
  type DirectoryOptions,
  makeDirectory,
  makeDirectoryBelow,
  makeTemporaryDirectory,
} from './make-directory.ts';
export { checkPemHolds, type GivenPem, isPemText, looksOfFile, type PemSource, readPem } from './pem.ts';
export { explainFileError, type FileContent, readBoundedFile } from './read-file.ts';
export {
  configDirectory,
  defaultStateDir,
  userDirectories,
} from './user-directories.ts';
export { destinationOf, makeFile, replaceFile, sweepPartial, syncPath } from './write-file.ts';
