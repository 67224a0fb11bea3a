export { buildReceipt, buildRefusal, type ReceiptSubject, type RunResult } from './build-receipt.ts';
export { describeArtifacts } from './describe-artifacts.ts';
export { completeDraft, type ReceiptDraft, readDraft, toDraft } from './draft.ts';
