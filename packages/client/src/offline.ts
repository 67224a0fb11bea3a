// What needs no channel: for those that hold receipts, or whose gate is in the same process. Bundles leave gRPC out.

export type { ExpectedReceipt } from '@csc-fleet/common/evidence';
export {
  type ApprovalInput,
  type ContractInput,
  type PreparedSubmit,
  prepareSubmit,
} from './calls/request.ts';
export { createReceiver, type Receiver, type RunHandlers } from './run/receiver.ts';
export { type EventOf, type ExecutionEvent, toExecutionEvent } from './stream/items.ts';
export { type Conclusion, concludeFrom, toExitCode } from './verify/conclusion.ts';
export type { ExecutionResolution } from './verify/resolution.ts';
export { type VerifiedReceipt, verifyReceipt } from './verify/verify-receipt.ts';
