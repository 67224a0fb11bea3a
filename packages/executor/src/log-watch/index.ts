export type { AskProofs } from './ask.ts';
export { checkReceiptLog } from './check.ts';
export { type LogRecord, logRecordFile, readLogRecord } from './record.ts';
export {
  type BroughtReceipt,
  checkUntaken,
  readUntaken,
  UntakenWatch,
  untakenRecordFile,
} from './untaken.ts';
export { LogWatch, type LogWatchPorts } from './watch.ts';
