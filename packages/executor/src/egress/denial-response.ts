import { STATUS_CODES } from 'node:http';
import type { Dialled } from './dial.ts';
import type { DenialReason, Refusal } from './refusal.ts';
import { type Asked, printableHost } from './verdict-log.ts';

/** An answer of the proxy itself. The connection ends with it. */
export interface OwnResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const statuses: Partial<Record<DenialReason, number>> = {
  ambiguous_length: 400,
  bad_request: 400,
  unresolvable: 502,
  incomplete: 408,
  header_too_long: 431,
};

// A CONNECT that says two things is no request (RFC 9112 §3.2).
const connectStatuses: typeof statuses = { host_mismatch: 400 };

/** What the client of a refused request is told. */
export function refusalResponse({ reason, message }: Refusal, { host, port, protocol }: Asked): OwnResponse {
  const place = port === 0 ? printableHost(host) : `${printableHost(host)}:${port}`;
  const status = (protocol === 'connect' ? connectStatuses[reason] : undefined) ?? statuses[reason] ?? 403;
  return ownResponse(status, reason, `${place} is refused: ${message}`);
}

/** What the client is told of a host that may be asked for and did not answer. */
export function unreachableResponse({ problem }: Dialled & { readonly ok: false }): OwnResponse {
  return problem === 'timeout'
    ? ownResponse(504, 'unreachable', 'the host is allowed, but did not answer in time')
    : ownResponse(502, 'unreachable', 'the host is allowed, but took no connection');
}

/** What the client is told of a host that answered with something else than HTTP. */
export function badAnswerResponse(): OwnResponse {
  return ownResponse(502, 'bad_answer', 'the host ended the connection, or did not answer in HTTP');
}

/** As it goes over a connection that no HTTP server of ours writes to. */
export function serialize({ status, headers, body }: OwnResponse): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`;
}

function ownResponse(status: number, reason: string, message: string): OwnResponse {
  const body = `csc egress: ${reason}: ${message}\n`;
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    'X-CSC-Egress': reason,
    Connection: 'close',
  };
  return { status, headers, body };
}
