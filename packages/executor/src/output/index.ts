export { Backlog, type BackloggedLog } from './backlog.ts';
export { type CapturedStream, capturedStreams, emptyDigest, type StreamDigest } from './captured-stream.ts';
export type { OutputLog } from './output-log.ts';
export type { LogContent, StoredLog } from './read-log.ts';
export { ChangeSignal } from './signal.ts';
export { type OutputCaps, type OutputFilter, OutputSpool } from './spool.ts';
export { SpoolDirectory } from './spool-directory.ts';
export { type OutputSink, pushOutput } from './uplink.ts';
export { Uploads } from './uploads.ts';
