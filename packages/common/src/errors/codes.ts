import { type ReasonFacts, type RpcReason, type RpcStatusName, reasons } from './reasons.ts';

/** What a code means, and what to do. Both are Markdown, for docs/errors.md. */
export interface CodeFacts {
  readonly means: string;
  readonly remedy: string;
}

/** All that stay on one machine: they become `INTERNAL` where one reaches the RPC boundary. */
export const localCodes = {
  GATE_UNREACHABLE: {
    means: 'no connection to the gate could be made, or one was lost for longer than it was waited for',
    remedy:
      'check its address, and that it runs; what was handed in can be handed in again under the `idempotencyKey` of the error, and does not run twice',
  },
  DEADLINE_EXCEEDED: {
    means: 'a gate that is there did not answer a call in time',
    remedy:
      'try again, and look at the gate where it stays so; what was handed in can be handed in again under the `idempotencyKey` of the error, and does not run twice',
  },
  CANCELLED: {
    means:
      'the caller’s signal was aborted, or its client closed; the message says whether what ran was asked to end',
    remedy: 'nothing; where the run goes on, follow it by the `executionId` of the error',
  },
  RECEIPT_MISSING: {
    means: 'the gate says that it has ended and has no receipt: nothing is known of how',
    remedy: 'ask the owner of the host; `csc get ID --follow` asks the gate once more',
  },
  RECEIPT_INVALID: {
    means:
      'the receipt is of something else than was asked for or has arrived, or contradicts one that was met before',
    remedy: 'count on nothing that was shown, and ask the owners of gate and host',
  },
  SIGNATURE_INVALID: {
    means: 'a signature does not fit what it stands on, or the key that it names',
    remedy: 'take it for forged; get it anew from whoever has signed it',
  },
  KEY_UNKNOWN: {
    means: 'what was signed names a key that nobody here trusts: none that is pinned, certified or was met',
    remedy:
      'pin what `csc executor keys --export` writes on that host (`executorKeys`, `--keys`), or the CA of its keys (`fleetCa`, `--fleet-ca`)',
  },
  KEY_CHANGED: {
    means: 'an executor signs with another key than it was first met with',
    remedy:
      'compare with `csc executor keys` on that host; where it was set up anew, take the old key out of the file of known executors',
  },
  KEY_REVOKED: {
    means: 'the key that signed is revoked',
    remedy: 'count on nothing that it signed; ask its owner',
  },
  KEY_EXPIRED: {
    means: 'the key that signed was not valid then',
    remedy: 'have it signed with a key that is, or look at the clocks',
  },
  KEY_INVALID: { means: 'a key cannot be read or used', remedy: 'change what the message names' },
  SEAL_INVALID: {
    means: 'sealed output does not open: it was changed, is of another stream, or was sealed to another key',
    remedy: 'name the key that it was sealed to; where that is so, count on nothing of it',
  },
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
  POLICY_INVALID: {
    means: 'a policy, or a file of its owners, is refused',
    remedy: 'mend the members named',
  },
  ENCODING_INVALID: {
    means: 'a value has no place in what is written',
    remedy: 'change what the message names',
  },
  CONFIG_INVALID: {
    means: 'what a config file, the command line or a caller’s options say cannot be used',
    remedy: 'change what the message names',
  },
  FILE_UNREADABLE: { means: 'a file cannot be read', remedy: 'see that it is there, and open to this user' },
  FILE_UNWRITABLE: {
    means: 'a file cannot be written',
    remedy: 'see that there is room, and leave to write there',
  },
  CA_UNREACHABLE: {
    means: 'the fleet’s CA cannot be reached',
    remedy: 'check its address, and that `csc ca serve` runs',
  },
  REPOSITORY_UNREACHABLE: {
    means: 'the owners’ policy repository cannot be fetched',
    remedy: 'see that the gate or the directory serves it',
  },
} as const satisfies Readonly<Record<string, CodeFacts>>;

/** Those of them that are about a gate's log of receipts, which a client finds by itself. */
export const logCodes: readonly string[] = ['LOG_INVALID', 'LOG_MISSING'] satisfies LocalCode[];

/** Codes of errors that stay on one machine. */
export type LocalCode = keyof typeof localCodes;

/** Every code that a CscError may carry. */
export type CscErrorCode = RpcReason | LocalCode;

/** True for a reason of the wire's registry; false for local codes and for anything unknown. */
export function isRpcReason(code: string): code is RpcReason {
  return Object.hasOwn(reasons, code);
}

/** What a code of an error, or the reason of a refusal, means, and what to do. */
export function meaningOf(code: CscErrorCode): CodeFacts {
  const { means, remedy } = isRpcReason(code) ? reasons[code] : localCodes[code];
  return { means, remedy };
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
