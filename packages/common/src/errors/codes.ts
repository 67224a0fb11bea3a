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

/** What is known of a local code that people meet by its name. Both are Markdown, for docs/errors.md. */
interface LocalFacts {
  readonly means: string;
  readonly remedy: string;
}

/** Those that are about a gate's log of receipts, which a client finds by itself. */
export const logCodes: Readonly<Record<'LOG_INVALID' | 'LOG_MISSING', LocalFacts>> = {
  LOG_INVALID: {
    means:
      'the gate’s log of receipts is false: another than before, a shorter one, one without a receipt that was handed out, or of another key',
    remedy:
      'count on nothing that this gate says; keep the evidence that is named, and ask the owners of the fleet. What has run has run: do not submit it again for this. Where they say that all is well, `csc audit forget` forgets it',
  },
  LOG_MISSING: {
    means:
      'whether a receipt is in the gate’s log cannot be known: too few witnesses have cosigned it in the last day, the gate keeps no log, or it does not know an execution any more whose proof it owes',
    remedy:
      'what has run has run: do not submit it again, but ask once more (`csc get ID --receipt-out FILE`) when what is missing is there. Witnesses are there once they run and the gate reaches them: `csc status` of an admin says which do not cosign',
  },
};

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

/** Why nothing ran: the reason, and the rest in words. */
export interface Refusal {
  readonly reason: RpcReason;
  readonly message: string;
}

/** What the `error` of a blocked execution says as `REASON: message`; undefined for other words, as of a policy that denies. */
export function readRefusal(error: string): Refusal | undefined {
  const [, reason = '', message = ''] = /^([A-Z_]+): (.*)/s.exec(error) ?? [];
  return isRpcReason(reason) ? { reason, message } : undefined;
}
