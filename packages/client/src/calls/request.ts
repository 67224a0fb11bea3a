import { randomUUID } from 'node:crypto';
import type { ApprovalArtifact } from '@csc-fleet/common/approval';
import { type CommandContract, readContract } from '@csc-fleet/common/contract';
import { canonicalJson, type EncodableObject, toBuffer } from '@csc-fleet/common/encoding';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import type { Limits } from '@csc-fleet/common/limits';
import type { SubmitRequest, Terminal } from '@csc-fleet/common/rpc';

/** A contract as an object, or as its JSON text. */
export type ContractInput = CommandContract | string | Uint8Array;

/** An approval as an object, or as its JSON text. */
export type ApprovalInput = ApprovalArtifact | string | Uint8Array;

/** A terminal that is asked for. */
export interface TerminalAsked {
  readonly columns: number;
  readonly rows: number;
  /** TERM. */
  readonly type: string;
  /** What is typed is signed with its private half: 32 bytes, made for this run alone. */
  readonly inputKey: Uint8Array;
}

/** What may be said of a contract that is handed in; every member has a sensible default. */
export interface SubmitOptions {
  /** The same key and contract give the same execution again. Absent: a new one for every call. */
  readonly idempotencyKey?: string | undefined;
  /** Labels that the executor must have, all of them. Absent: any executor. */
  readonly selector?: Readonly<Record<string, string>> | undefined;
  /** People's consent to this very contract. Absent: none. */
  readonly approvals?: readonly ApprovalInput[] | undefined;
  /** Which of the profiles bound to the caller decides. Absent: the first. */
  readonly policyProfile?: string | undefined;
  /** The version that the receipt must have; another one is refused. Absent: v0.2. */
  readonly receiptVersion?: 'csc.receipt.v0.1' | 'csc.receipt.v0.2' | undefined;
  /** Milliseconds that it may wait for an executor. Absent: the gate's own limit. */
  readonly queueTimeoutMs?: number | undefined;
  /**
   * Milliseconds within which it must have started, people's agreement and queue included; 24 hours at most, and no
   * longer than the gate lets a decision wait. Needs a submitter. Absent: `queueTimeoutMs`, or an hour, and five
   * minutes; with `waitForApproval`, 24 hours.
   */
  readonly startWithinMs?: number | undefined;
  /** The most that it is to use up; policy and host can only say less. Needs a submitter. Absent: what they say. */
  readonly limits?: Limits | undefined;
  /** It has failed where an expected output is not there. Needs a submitter. Absent: as the policy says. */
  readonly requireOutputs?: boolean | undefined;
  /** Its executor attests the receipt, for `csc receipts export`. Needs a submitter. Absent: as its host says. */
  readonly attest?: boolean | undefined;
  /**
   * Its host seals what it prints to this key, 32 bytes of X25519, so that nobody between can read it; `sealKeys` of
   * the client opens it. Needs a submitter, a receipt of v0.2 and no terminal. Absent: it is not sealed.
   */
  readonly sealTo?: Uint8Array | undefined;
  /** Run it on a terminal, where policy and host grant one. Absent: it has none. */
  readonly terminal?: TerminalAsked | undefined;
  /**
   * The name of the one executor that may run it. Needs a submitter. Absent: any that the selector names; where a policy
   * wants one host named, `run` names it once the execution is placed.
   */
  readonly executorId?: string | undefined;
}

/** The receipt that is asked for where the caller does not say. */
export const defaultReceiptVersion = 'csc.receipt.v0.2';

/** A request to send, and what is in it by this side's own reckoning. */
export interface PreparedSubmit {
  readonly request: SubmitRequest;
  readonly contract: CommandContract;
  readonly contractSha256: string;
}

/** Reads the contract before it leaves, so that its faults cost no round trip. Throws CONTRACT_INVALID. */
export function prepareSubmit(contract: ContractInput, options: SubmitOptions): PreparedSubmit {
  const bytes = toJsonBytes(contract);
  const read = orThrow(readContract(bytes), 'CONTRACT_INVALID', 'the contract');
  return {
    request: toSubmitRequest(bytes, options),
    contract: read.contract,
    contractSha256: read.contractSha256,
  };
}

function toSubmitRequest(contractJson: Buffer, options: SubmitOptions): SubmitRequest {
  return {
    contract: { $case: 'contractJson', value: contractJson },
    idempotencyKey: options.idempotencyKey ?? randomUUID(),
    selector: { ...options.selector },
    policyProfile: options.policyProfile ?? '',
    approvalsJson: (options.approvals ?? []).map(toJsonBytes),
    submissionJson: Buffer.alloc(0),
    options: {
      receiptVersion: options.receiptVersion ?? defaultReceiptVersion,
      queueTimeout: options.queueTimeoutMs === undefined ? undefined : toDuration(options.queueTimeoutMs),
      terminal: toTerminal(options.terminal),
    },
  };
}

function toTerminal(asked: TerminalAsked | undefined): Terminal | undefined {
  if (asked === undefined) return undefined;
  const { columns, rows, type, inputKey } = asked;
  return { size: { columns, rows }, type, inputKey: Buffer.from(inputKey) };
}

// The gate may have taken the request, and its answer be lost.
const fateUnknown: readonly string[] = ['GATE_UNREACHABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'INTERNAL'];

/** True where the gate may have taken what was handed in all the same. */
export function isFateUnknown(error: unknown): boolean {
  return isCscError(error) && fateUnknown.includes(error.code);
}

/**
 * An error of handing a request in, or of what came of it, with the key under which it is not done twice.
 * @param hint more for people to read
 * @param executionId as the gate has named it. Absent: it has not
 */
export function withKey(
  error: unknown,
  { idempotencyKey }: SubmitRequest,
  { hint = '', executionId }: { readonly hint?: string; readonly executionId?: string | undefined } = {},
): unknown {
  if (!isCscError(error)) return error;
  const { code, message, cause, faults, isLasting, retryAfterMs, executionId: named = executionId } = error;
  return new CscError(code, `${message}${hint}`, {
    cause,
    faults,
    isLasting,
    idempotencyKey,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(named === undefined ? {} : { executionId: named }),
  });
}

/**
 * The JSON text of an artifact, as it was given where it was given as text; of an object with its members in order,
 * which gate and host then need not put in order.
 */
export function toJsonBytes(artifact: object | string | Uint8Array): Buffer {
  if (artifact instanceof Uint8Array) return toBuffer(artifact);
  return Buffer.from(typeof artifact === 'string' ? artifact : toOrderedJson(artifact));
}

// What has no canonical form has a fault, which is for its reader to name.
function toOrderedJson(artifact: object): string {
  try {
    return canonicalJson(artifact as EncodableObject, { keepNulls: true });
  } catch {
    return JSON.stringify(artifact);
  }
}

/** A protobuf Duration of so many milliseconds. */
export function toDuration(ms: number): { seconds: number; nanos: number } {
  const whole = Math.round(ms);
  return { seconds: Math.trunc(whole / 1000), nanos: (whole % 1000) * 1e6 };
}
