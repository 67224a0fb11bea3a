export { type ChainHead, chainHeadSchema, parseChainHead } from './chain-head.ts';
export { projectReceipt } from './project.ts';
export {
  type CommandResult,
  type Ending,
  type ExecutionReceipt,
  parseReceipt,
  type ReceiptV01,
  type ReceiptV02,
  type ReceiptVersion,
  receiptFromJson,
  receiptSha256,
  receiptVersions,
  type SandboxReport,
} from './receipt.ts';
export { maxReceiptError, receiptV01Schema } from './schema-v01.ts';
export {
  endings,
  type LeftOutReason,
  leftOutReasons,
  maxLeftOut,
  maxReceiptCertificates,
  receiptV02Schema,
} from './schema-v02.ts';
