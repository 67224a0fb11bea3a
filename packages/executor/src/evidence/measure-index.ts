export { watchWrites } from '../run/write-watch.ts';
export type { HashAnswer } from './artifact-hash.ts';
export { type FileTime, fileTimeNow } from './file-time.ts';
export { Measurer } from './measurer.ts';
export { nothingWritten, type Written } from './written.ts';
