import type { CscErrorCode } from './codes.ts';
import { type Fault, formatFaults, type Parsed } from './fault.ts';
import { causeWithoutSecrets, withoutSecrets } from './without-secrets.ts';

/** What a CscError may carry beside its code and message. */
export interface CscErrorOptions {
  /** The error underneath: it is logged, never sent. */
  readonly cause?: unknown;
  readonly faults?: readonly Fault[];
  /** Milliseconds after which a retry may help. Absent: a retry as it stands does not help. */
  readonly retryAfterMs?: number;
  /** Whether it stays so until somebody mends it, where others of its code pass by themselves. Absent: it may pass. */
  readonly isLasting?: boolean;
  /** The key of what was handed in, under which it may be handed in again. Absent: nothing was. */
  readonly idempotencyKey?: string;
  /** The execution that it is about. Absent: none, or nobody has named it. */
  readonly executionId?: string;
}

/**
 * The one error class. The message is for people, may reach a remote caller, and must hold nothing secret: what looks like
 * a key is taken out of it, of its faults and of its cause.
 */
export class CscError extends Error {
  readonly code: CscErrorCode;
  /** Every fault of the document that was refused; empty where it is not about a document. */
  readonly faults: readonly Fault[];
  /** Milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** A retry does not help before somebody has mended what it says. */
  readonly isLasting: boolean;
  /** With it, what was handed in can be handed in again, and does not run twice. */
  readonly idempotencyKey: string | undefined;
  /** The execution that it is about, where whoever reads it would not know. */
  readonly executionId: string | undefined;

  constructor(code: CscErrorCode, message: string, options: CscErrorOptions = {}) {
    super(
      withoutSecrets(message),
      'cause' in options ? { cause: causeWithoutSecrets(options.cause) } : undefined,
    );
    this.name = 'CscError';
    this.code = code;
    this.faults = (options.faults ?? []).map(({ path, message: fault }) => ({
      path: withoutSecrets(path),
      message: withoutSecrets(fault),
    }));
    this.retryAfterMs = options.retryAfterMs;
    this.isLasting = options.isLasting ?? false;
    this.idempotencyKey = options.idempotencyKey;
    this.executionId = options.executionId;
  }

  /** What JSON.stringify makes of it: as it is, with its message, which an Error's JSON leaves out, and without its cause. */
  toJSON(): object {
    const { code, message, faults, retryAfterMs, isLasting, idempotencyKey, executionId } = this;
    return { code, message, faults, retryAfterMs, isLasting, idempotencyKey, executionId };
  }
}

/** Narrows to a CscError, of one code where `code` is given. */
export function isCscError(error: unknown, code?: CscErrorCode): error is CscError {
  return error instanceof CscError && (code === undefined || error.code === code);
}

/**
 * The value of a parse, or a CscError with `code` that lists every fault.
 * @param what names the document in the message, for example `the contract` or a file's path
 */
export function orThrow<T>(result: Parsed<T>, code: CscErrorCode, what: string): T {
  if (result.ok) return result.value;
  const { faults } = result;
  throw new CscError(code, `${what} was refused:\n${formatFaults(faults)}`, { faults });
}
