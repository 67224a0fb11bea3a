export { Backlog, type BackloggedLog } from './backlog.ts';
export { type Captured, type CapturedStream, streamNumbers, terminalStreams } from './captured-stream.ts';
export type { LogContent, ReadableLog, StoredLog } from './read-log.ts';
export { sealingFilter } from './sealing.ts';
export { type OutputCaps, type OutputFilter, OutputSpool, sumOf } from './spool.ts';
export { SpoolDirectory } from './spool-directory.ts';
export { type OutputSink, pushOutput } from './uplink.ts';
export { Uploads } from './uploads.ts';
