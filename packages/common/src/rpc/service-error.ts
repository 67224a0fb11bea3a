import { randomBytes } from 'node:crypto';
import type { OutgoingHttpHeaders } from 'node:http2';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { CscError, type Fault, isRpcReason, type RpcReason, rpcStatusOf } from '../errors/index.ts';
import { toDuration } from '../messages/duration.ts';
import { type Any, BadRequest, ErrorInfo, RetryInfo, Status } from './generated.ts';

/** Where gRPC carries a google.rpc.Status. */
export const statusDetailsKey = 'grpc-status-details-bin';

/** The domain of our ErrorInfo. */
export const errorDomain = 'csc';

/** What the details' type URLs begin with. */
export const typeUrlPrefix = 'type.googleapis.com/';

// Clients of other languages take 8 KiB of metadata by default, of which base64 needs a third.
const maxMessageLength = 1024;
const maxFaultBytes = 3 * 1024;

/** Where an error is logged that its caller must not see. */
export type ErrorLog = (id: string, error: unknown) => void;

/**
 * The one RPC error boundary. A CscError of the wire's registry becomes its status, with google.rpc.Status details:
 * ErrorInfo (domain `csc`), BadRequest for faults, RetryInfo. Anything else becomes INTERNAL `internal error ID`, and
 * the error goes to `log` under that id.
 * @param id default: a new one
 */
export function toServiceError(
  error: unknown,
  log?: ErrorLog,
  id = randomBytes(6).toString('hex'),
): ServiceError {
  if (error instanceof CscError && isRpcReason(error.code) && error.code !== 'INTERNAL') {
    return build(error.code, error.message, [
      ...faultDetails(error.faults),
      ...retryDetails(error.retryAfterMs),
    ]);
  }
  log?.(id, error);
  return build('INTERNAL', `internal error ${id}`, [], { error_id: id });
}

/** The headers of an answer that is an error and nothing else (gRPC over HTTP2, Trailers-Only). */
export function toTrailersOnly({
  code,
  details,
  metadata,
}: Pick<ServiceError, 'code' | 'details'> & Partial<Pick<ServiceError, 'metadata'>>): OutgoingHttpHeaders {
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': code,
    'grpc-message': encodeURI(details),
    ...metadata?.toHttp2Headers(),
  };
}

function build(
  reason: RpcReason,
  text: string,
  more: readonly Any[],
  info: Record<string, string> = {},
): ServiceError {
  const code = status[rpcStatusOf(reason)];
  const message = text.length > maxMessageLength ? `${text.slice(0, maxMessageLength)}…` : text;
  // grpc-message is percent-encoded, which throws for a lone surrogate.
  const details = message.toWellFormed();
  const errorInfo = ErrorInfo.encode({ reason, domain: errorDomain, metadata: info }).finish();
  const body = Status.encode({
    code,
    message: details,
    details: [toAny('google.rpc.ErrorInfo', errorInfo), ...more],
  });
  const metadata = new Metadata();
  metadata.set(statusDetailsKey, Buffer.from(body.finish()));
  return Object.assign(new Error(details), { code, details, metadata });
}

function toAny(type: string, value: Uint8Array): Any {
  return { typeUrl: `${typeUrlPrefix}${type}`, value: Buffer.from(value) };
}

function faultDetails(faults: readonly Fault[]): Any[] {
  if (faults.length === 0) return [];
  const fieldViolations: BadRequest['fieldViolations'] = [];
  let size = 0;
  for (const { path, message } of faults) {
    size += Buffer.byteLength(path) + Buffer.byteLength(message) + 8;
    if (size > maxFaultBytes) break;
    fieldViolations.push({ field: path, description: message, reason: '', localizedMessage: undefined });
  }
  const left = faults.length - fieldViolations.length;
  if (left > 0) {
    const description = `there are ${left} more faults`;
    fieldViolations.push({ field: '', description, reason: '', localizedMessage: undefined });
  }
  return [toAny('google.rpc.BadRequest', BadRequest.encode({ fieldViolations }).finish())];
}

function retryDetails(retryAfterMs: number | undefined): Any[] {
  if (retryAfterMs === undefined) return [];
  return [toAny('google.rpc.RetryInfo', RetryInfo.encode({ retryDelay: toDuration(retryAfterMs) }).finish())];
}
