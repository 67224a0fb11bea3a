// The protobuf messages that need no gRPC to be loaded: values of csc.common.v1, types of csc.gate.v1 and csc.link.v1.
// `@csc-fleet/common/rpc` has them too, with the services, and loads @grpc/grpc-js.
export { Actor, Command, CommandContract, Exec, Pipeline } from '../gen/csc/common/v1/contract.ts';
export { Decision, Finding, PolicyVersion, Verdict } from '../gen/csc/common/v1/decision.ts';
export {
  Cancelling,
  CommandExited,
  CommandResult,
  CommandStarted,
  Decided,
  EndedBy,
  Execution,
  ExecutionEvent,
  ExecutionState,
  Finished,
  OutputChunk,
  OutputEnd,
  OutputStream,
  Placed,
  Queued,
  Reviewed,
  Started,
} from '../gen/csc/common/v1/execution.ts';
export { KeyRole, PublicKey } from '../gen/csc/common/v1/key.ts';
export { Terminal, TerminalFrame, TerminalSize } from '../gen/csc/common/v1/terminal.ts';
export {
  ApprovalsGetRequest,
  ApprovalsGetResponse,
  ApprovalsListRequest,
  ApprovalsListResponse,
  ApprovalsWatchRequest,
  ApprovalsWatchResponse,
  PendingApproval,
  QuorumState,
  ReviewRequest,
  ReviewResponse,
} from '../gen/csc/gate/v1/approvals.ts';
export type {
  Absence,
  AuditRequest,
  AuditResponse,
  BindRequest,
  CancelRequest,
  CancelResponse,
  CheckRequest,
  CheckResponse,
  Frozen,
  GetExecutionRequest,
  GetExecutionResponse,
  GetKeysRequest,
  GetKeysResponse,
  GetReceiptRequest,
  GetReceiptResponse,
  GetStatusRequest,
  GetStatusResponse,
  ListExecutionsRequest,
  ListExecutionsResponse,
  ListExecutorsResponse,
  ListProfilesResponse,
  Profile,
  ProveReceiptsRequest,
  PruneRequest,
  PruneResponse,
  ReadLogTileRequest,
  ReadLogTileResponse,
  ReadOutputRequest,
  ReadOutputResponse,
  ReceiptPlace,
  ReceiptProof,
  ResolveRequest,
  ResolveResponse,
  RunOptions,
  RunRequest,
  RunResponse,
  SendInputRequest,
  SendInputResponse,
  StreamPosition,
  SubmitResponse,
  TokenName,
  Validity,
  Waiting,
  WatchRequest,
  WatchResponse,
} from '../gen/csc/gate/v1/gate.ts';
export {
  AuditRecord,
  Executor as ExecutorStatus,
  ProveReceiptsResponse,
  SubmitRequest,
} from '../gen/csc/gate/v1/gate.ts';
export type {
  Accepted,
  Cancel,
  CommandStarted as LinkCommandStarted,
  Confirm,
  ConnectResponse,
  Drain,
  Exited,
  FetchPolicyFileRequest,
  FetchPolicyFileResponse,
  Heartbeat,
  HeartbeatAck,
  Hello,
  Offer,
  OwnReceiptProof,
  PolicyChanged,
  ProveOwnReceiptsRequest,
  PushOutputRequest,
  PushOutputResponse,
  Receipt,
  ReceiptAck,
  Refused,
  TerminalInput,
  TerminalTaken,
  Welcome,
  Withdraw,
} from '../gen/csc/link/v1/link.ts';
export { ConnectRequest, ProveOwnReceiptsResponse } from '../gen/csc/link/v1/link.ts';
export { Any } from '../gen/google/protobuf/any.ts';
export { Duration } from '../gen/google/protobuf/duration.ts';
export { Timestamp } from '../gen/google/protobuf/timestamp.ts';
export { BadRequest, ErrorInfo, RetryInfo } from '../gen/google/rpc/error_details.ts';
export { Status } from '../gen/google/rpc/status.ts';
export { toDuration, toMilliseconds } from './duration.ts';

/** Approvals that an executor takes with an offer. */
export const maxOfferedApprovals = 64;
