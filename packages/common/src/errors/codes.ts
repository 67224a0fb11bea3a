import { type ReasonFacts, type RpcReason, type RpcStatusName, reasons } from './reasons.ts';

/** Codes of errors that stay on one machine: they become `INTERNAL` where one reaches the RPC boundary. */
export type LocalCode =
  | 'SIGNATURE_INVALID'
  | 'KEY_UNKNOWN'
  | 'KEY_INVALID'
  | 'KEY_REVOKED'
  | 'KEY_EXPIRED'
  | 'POLICY_INVALID'
  | 'KEY_CHANGED'
  | 'RECEIPT_INVALID'
  | 'RECEIPT_MISSING'
  | 'LOG_INVALID'
  | 'LOG_MISSING'
  | 'SEAL_INVALID'
  | 'ENCODING_INVALID'
  | 'CONFIG_INVALID'
  | 'FILE_UNREADABLE'
  | 'FILE_UNWRITABLE'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'GATE_UNREACHABLE'
  | 'CA_UNREACHABLE'
  | 'REPOSITORY_UNREACHABLE';

/** Every code that a CscError may carry. */
export type CscErrorCode = RpcReason | LocalCode;

/** True for a reason of the wire's registry; false for local codes and for anything unknown. */
export function isRpcReason(code: string): code is RpcReason {
  return Object.hasOwn(reasons, code);
}

/** The gRPC status of a code; `INTERNAL` for a local code, which has no business on the wire. */
export function rpcStatusOf(code: CscErrorCode): RpcStatusName {
  return isRpcReason(code) ? reasons[code].status : 'INTERNAL';
}

/** Whether the same may succeed if nobody mends anything; `no` for a local code and for anything unknown. */
export function retryOf(code: string): ReasonFacts['retry'] {
  return isRpcReason(code) ? reasons[code].retry : 'no';
}
