export type { CommandContract } from '@csc-fleet/common/contract';
export {
  CscError,
  type CscErrorCode,
  type Fault,
  isCscError,
  meaningOf,
  type Refusal,
} from '@csc-fleet/common/errors';
export type { ExpectedReceipt, SubmissionSigner } from '@csc-fleet/common/evidence';
export {
  type Decision,
  type Execution,
  ExecutionState,
  OutputStream,
  type Profile,
  Verdict,
} from '@csc-fleet/common/messages';
export type { ExecutionReceipt } from '@csc-fleet/common/receipt';
export { makeSealKey, parseSealKey, type SealKey, type SealKeys } from '@csc-fleet/common/seal';
export type { ApprovalChange, ApprovalsClient } from './calls/approvals.ts';
export type {
  AuditOptions,
  CallOptions,
  CancelOptions,
  CheckOptions,
  ListOptions,
  PruneOptions,
  Submitted,
} from './calls/calls.ts';
export type { ApprovalInput, ContractInput, SubmitOptions } from './calls/request.ts';
export { createSignedSubmissions, type SignedSubmission, type SignedSubmissions } from './calls/signed.ts';
export { type AgentKey, openSshAgentKey } from './calls/ssh-agent.ts';
export { connect, type FetchedReceipt, type GateClient } from './client.ts';
export type { ConnectOptions } from './connect-options.ts';
export type { RunResult } from './run/conclude.ts';
export type { RunHandlers } from './run/receiver.ts';
export type { FollowOptions, RunOptions } from './run/run.ts';
export type { TerminalClaim, TerminalInput, TerminalSize } from './run/terminal.ts';
export type { EventOf, ExecutionEvent, OutputItem } from './stream/items.ts';
export type { ReadOutputOptions, WatchOptions } from './stream/read.ts';
export { connectByToken, identifyByToken, type TokenMember, type TokenOptions } from './token/identify.ts';
export {
  buildkiteTokens,
  githubTokens,
  type TokenSource,
  tokenInFile,
  tokenInVariable,
  tokenSource,
} from './token/sources.ts';
export { createSeenChains, type SeenChains, type SeenReceipt } from './verify/chains.ts';
export { type Conclusion, concludeFrom, concludeWithout } from './verify/conclusion.ts';
export type { SharedMemory } from './verify/in-turn.ts';
export { createKnownExecutors, type ExecutorKey, type KnownExecutors } from './verify/keys.ts';
export type { LogOptions } from './verify/log.ts';
export { describeResolution, type ExecutionResolution } from './verify/resolution.ts';
export {
  type AccusedLog,
  createSeenLogs,
  type LogEvidence,
  type OwedReceipt,
  type SeenLog,
  type SeenLogs,
} from './verify/seen-logs.ts';
export { type VerifiedReceipt, verifyReceipt } from './verify/verify-receipt.ts';
