/**
 * The reasons that cross the wire in google.rpc.ErrorInfo (domain `csc`), grouped as they map to a gRPC status.
 * The registry is closed and its names are stable for ever; docs/errors.md says what each one means.
 */
export const rpcReasons = {
  UNAUTHENTICATED: ['NO_CREDENTIALS', 'CREDENTIALS_INVALID', 'TICKET_INVALID', 'TICKET_EXPIRED'],
  PERMISSION_DENIED: ['NOT_PERMITTED', 'HOST_CEILING_EXCEEDED', 'TICKET_REVOKED', 'WRONG_AUDIENCE'],
  INVALID_ARGUMENT: ['CONTRACT_INVALID', 'CONTRACT_HASH_MISMATCH', 'REQUEST_INVALID'],
  ALREADY_EXISTS: ['TICKET_REPLAYED', 'IDEMPOTENCY_CONFLICT'],
  FAILED_PRECONDITION: ['APPROVAL_INVALID', 'SANDBOX_UNAVAILABLE', 'NO_MATCHING_EXECUTOR', 'POLICY_UNSIGNED'],
  RESOURCE_EXHAUSTED: ['RATE_LIMITED', 'QUEUE_FULL', 'SPOOL_FULL', 'MESSAGE_TOO_LARGE'],
  UNAVAILABLE: ['DRAINING', 'STORE_UNAVAILABLE'],
  OUT_OF_RANGE: ['OUTPUT_TRIMMED'],
  NOT_FOUND: ['EXECUTION_UNKNOWN'],
  INTERNAL: ['INTERNAL'],
} as const;

/** The gRPC status names that a reason maps to. */
export type RpcStatusName = keyof typeof rpcReasons;

/** A reason from the wire's closed registry. */
export type RpcReason = (typeof rpcReasons)[RpcStatusName][number];

/** Codes of errors that stay on one machine: they become `INTERNAL` where one reaches the RPC boundary. */
export type LocalCode =
  | 'SIGNATURE_INVALID'
  | 'KEY_UNKNOWN'
  | 'KEY_INVALID'
  | 'KEY_REVOKED'
  | 'KEY_EXPIRED'
  | 'POLICY_INVALID'
  | 'DECISION_INVALID'
  | 'KEY_CHANGED'
  | 'RECEIPT_INVALID'
  | 'RECEIPT_MISSING'
  | 'TICKET_MALFORMED'
  | 'ENCODING_INVALID'
  | 'CONFIG_INVALID'
  | 'FILE_UNREADABLE'
  | 'FILE_UNWRITABLE'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'GATE_UNREACHABLE';

const statusByReason: ReadonlyMap<string, RpcStatusName> = new Map(
  (Object.keys(rpcReasons) as RpcStatusName[]).flatMap((status) =>
    rpcReasons[status].map((reason) => [reason, status] as const),
  ),
);

/** True for a reason of the wire's registry; false for local codes and for anything unknown. */
export function isRpcReason(code: string): code is RpcReason {
  return statusByReason.has(code);
}

/** The gRPC status of a code; `INTERNAL` for a local code, which has no business on the wire. */
export function rpcStatusOf(code: RpcReason | LocalCode): RpcStatusName {
  return statusByReason.get(code) ?? 'INTERNAL';
}
