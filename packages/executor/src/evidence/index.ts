export {
  type Asked,
  buildReceipt,
  buildRefusal,
  type ExecutionMode,
  type ReceiptSubject,
} from './build-receipt.ts';
export { type CommandOutcome, hasSucceeded, writtenSoFar } from './command-outcome.ts';
export { type Concluded, type ConcludePorts, conclude } from './conclude.ts';
export { completeDraft, type ReceiptDraft, readDraft, toBareDraft, toDraft, withLoss } from './draft.ts';
export type { Measurer } from './measurer.ts';
export { type RecordedPlace, RunRecord } from './run-record.ts';
export { addWritten, type FileTime, fileTimeNow, nothingWritten, type Written } from './written.ts';
