export {
  buildReceipt,
  buildRefusal,
  type ReceiptSubject,
  type RunResult,
  toErrorText,
} from './build-receipt.ts';
export { describeArtifacts } from './describe-artifacts.ts';
export { completeDraft, type ReceiptDraft, readDraft, toDraft } from './draft.ts';
export { type SignedReceipt, sealReceipt } from './seal.ts';
