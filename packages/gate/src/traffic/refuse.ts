import { constants, type ServerHttp2Stream } from 'node:http2';
import { type ErrorLog, toServiceError } from '@csc-fleet/common/rpc';

/**
 * Ends a stream with an error's status, without a word of its body being read: trailers only, then RST_STREAM with
 * NO_ERROR (RFC 9113 §8.1), which tells the peer to stop sending. Where an answer has begun there can be no such status
 * any more: then RST_STREAM with ENHANCE_YOUR_CALM, which gRPC clients take as RESOURCE_EXHAUSTED.
 */
export function refuse(stream: ServerHttp2Stream, error: unknown, log?: ErrorLog): void {
  if (stream.closed || stream.destroyed) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  const { code, details, metadata } = toServiceError(error, log);
  const trailers = {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': code,
    'grpc-message': encodeURI(details),
    ...metadata.toHttp2Headers(),
  };
  stream.respond(trailers, { endStream: true });
  stream.close(constants.NGHTTP2_NO_ERROR);
}
