export { hashArtifacts } from './artifacts.ts';
export { buildReceipt, buildRefusal, type ReceiptSubject, type RunResult, toErrorText } from './build.ts';
export { completeDraft, type ReceiptDraft, readDraft, toDraft } from './draft.ts';
export { type FileTime, fileTimeNow, measureWritten, nothingWritten, type Written } from './files-written.ts';
export { type SignedReceipt, sealReceipt } from './seal.ts';
