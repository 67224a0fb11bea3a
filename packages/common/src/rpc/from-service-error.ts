import { Metadata, status } from '@grpc/grpc-js';
import { CscError, type Fault, isRpcReason, type LocalCode, type RpcReason } from '../errors/index.ts';
import { toMilliseconds } from '../messages/duration.ts';
import { BadRequest, ErrorInfo, RetryInfo, Status } from './generated.ts';
import { errorDomain, statusDetailsKey, typeUrlPrefix } from './service-error.ts';

// What gRPC itself says, without our details: the gate has not spoken.
const codeOfStatus: Readonly<Partial<Record<number, RpcReason | LocalCode>>> = {
  [status.CANCELLED]: 'CANCELLED',
  [status.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
  [status.RESOURCE_EXHAUSTED]: 'MESSAGE_TOO_LARGE',
  [status.INTERNAL]: 'INTERNAL',
  [status.UNKNOWN]: 'INTERNAL',
};

/**
 * What a caller makes of a failed call: the gate's own reason with its faults and retry time, or, where the gate has
 * not said anything, GATE_UNREACHABLE, CANCELLED, DEADLINE_EXCEEDED, MESSAGE_TOO_LARGE or INTERNAL.
 */
export function fromServiceError(error: unknown): CscError {
  if (error instanceof CscError) return error;
  if (!isStatus(error)) return new CscError('INTERNAL', 'the call failed', { cause: error });
  const details = readDetails(error.metadata);
  if (details !== undefined)
    return new CscError(details.reason, error.details, { ...details.options, cause: error });
  const code = codeOfStatus[error.code] ?? 'GATE_UNREACHABLE';
  return new CscError(
    code,
    error.details === '' ? `the call failed with the status ${error.code}` : withoutEmptyNote(error.details),
    {
      cause: error,
    },
  );
}

// grpc-js ends some of its sentences with the words for a note, and no note.
function withoutEmptyNote(details: string): string {
  return details.replace(/ Resolution note: $/, '');
}

interface StatusLike {
  readonly code: number;
  readonly details: string;
  readonly metadata: unknown;
}

function isStatus(error: unknown): error is StatusLike {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('details' in error))
    return false;
  return typeof error.code === 'number' && typeof error.details === 'string' && 'metadata' in error;
}

interface Details {
  readonly reason: RpcReason;
  readonly options: { faults?: readonly Fault[]; retryAfterMs?: number };
}

// Undefined where there are none of ours, or none that can be read.
function readDetails(metadata: unknown): Details | undefined {
  const bytes = metadata instanceof Metadata ? metadata.get(statusDetailsKey)[0] : undefined;
  if (!Buffer.isBuffer(bytes)) return undefined;
  try {
    return toDetails(Status.decode(bytes));
  } catch {
    return undefined;
  }
}

function toDetails({ details }: Status): Details | undefined {
  const find = (type: string): Buffer | undefined =>
    details.find((any) => any.typeUrl === `${typeUrlPrefix}${type}`)?.value;
  const info = ErrorInfo.decode(find('google.rpc.ErrorInfo') ?? Buffer.alloc(0));
  if (info.domain !== errorDomain || !isRpcReason(info.reason)) return undefined;
  const badRequest = find('google.rpc.BadRequest');
  const retry = find('google.rpc.RetryInfo');
  return {
    reason: info.reason,
    options: {
      ...(badRequest === undefined ? {} : { faults: toFaults(BadRequest.decode(badRequest)) }),
      ...(retry === undefined ? {} : { retryAfterMs: toMilliseconds(RetryInfo.decode(retry).retryDelay) }),
    },
  };
}

function toFaults({ fieldViolations }: BadRequest): Fault[] {
  return fieldViolations.map(({ field, description }) => ({ path: field, message: description }));
}
