import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type AddressClass, type HostProblem, parseAuthority } from './names-and-addresses.ts';

/** How a request came. */
export type EgressProtocol = 'connect' | 'http' | 'socks5';

/** What a request asked for, as far as it is known. */
export interface Asked {
  readonly protocol: EgressProtocol;
  /** Whatever the requester wrote; empty where it did not come that far. */
  readonly host: string;
  /** 0 where it did not come that far. */
  readonly port: number;
}

/** What an authority that may be anything is logged as: its name and port, or its text and port 0. */
export function describeAuthority(text: string, defaultPort?: number): Pick<Asked, 'host' | 'port'> {
  const authority = parseAuthority(text, defaultPort);
  if (authority.ok) return { host: authority.name, port: authority.port };
  // A user's name and password are nobody's business in a receipt.
  const bare = text.replace(/^.*@/s, '*@');
  const [, host = bare, port = '0'] = /^(.*):(\d{1,5})$/s.exec(bare) ?? [];
  return Number(port) <= 65_535 ? { host, port: Number(port) } : { host: bare, port: 0 };
}

/** What goes into receipts, logs and answers can neither fill them nor act on a terminal. */
export function printableHost(host: string): string {
  const shown = host.slice(0, 253).replace(/[^\x21-\x7e]/g, '?');
  return shown === '' ? '(none)' : shown;
}

/** Why a request got no further. Receipts and the header `X-CSC-Egress` have these words. */
export type DenialReason =
  | HostProblem
  | 'not_listed'
  | 'forbidden_address'
  | 'unresolvable'
  | 'sni_mismatch'
  | 'no_sni'
  | 'not_tls'
  | 'malformed_tls'
  | 'host_mismatch'
  | 'bad_request'
  | 'header_too_long'
  | 'bad_scheme'
  | 'ambiguous_length'
  | 'upgrade'
  | 'socks_command'
  | 'socks_authentication'
  | 'incomplete'
  | 'too_many_connections'
  | 'ech'
  | 'internal_error'
  | 'proxy_lost';

/** A request that is denied: what was wrong with it and, in a sentence for people, what to do. */
export interface Refusal {
  readonly reason: DenialReason;
  /** Of one line, without anything that the requester wrote. */
  readonly message: string;
}

const messages: Readonly<Record<DenialReason, string>> = {
  ip_literal: 'requests must name a host, not an address: list a name, and the address as where it may lead',
  bad_name: 'this is no host name',
  bad_port: 'the port must be 1 to 65535',
  not_listed:
    "the policy's allowed_egress_hosts and the host ceiling's egress_hosts must both have this name and port",
  forbidden_address: 'the name leads to an address that is not public',
  unresolvable: 'the name could not be resolved',
  sni_mismatch: 'the TLS server name differs from the host that was asked for',
  no_sni: 'the TLS ClientHello has no server name',
  not_tls: 'a tunnel must carry TLS or HTTP/1; for other protocols both lists must have NAME:tcp:PORT',
  malformed_tls: 'the TLS ClientHello could not be read',
  host_mismatch: 'the Host header differs from the host that was asked for',
  bad_request: 'this is no request that a proxy can take',
  header_too_long: 'the head of the request is too long',
  bad_scheme: 'ask for http:// by its absolute URI and for everything else with CONNECT',
  ambiguous_length: 'where the body ends must be said once, by Content-Length or by chunked',
  upgrade: 'connections are upgraded to WebSockets alone, each by a request that is not sent behind another',
  socks_command: 'of SOCKS5 there is CONNECT alone',
  socks_authentication: 'SOCKS5 clients must offer to go without authentication',
  incomplete: 'the connection ended, or was silent for too long, before it had said what it wants',
  too_many_connections: 'too many connections are open at once',
  ech: 'the TLS ClientHello is encrypted (ECH), so that where it leads cannot be seen: turn ECH off in the client, or have both lists say `ech: allow` of this host',
  internal_error: 'the proxy itself failed at this connection',
  proxy_lost: 'the process of the proxy ended, and with it what went through it; another one was started',
};

/** Whether it is one of these words. */
export function isDenialReason(word: unknown): word is DenialReason {
  return typeof word === 'string' && Object.hasOwn(messages, word);
}

/** A refusal in its own words. */
export function refuse(reason: DenialReason): Refusal {
  return { reason, message: messages[reason] };
}

/** A refusal of what a name leads to. */
export function refuseAddress(kind: Exclude<AddressClass, 'public'>): Refusal {
  const what = `${kind === 'unspecified' ? 'an' : 'a'} ${kind.replace('_', '-')} address`;
  const remedy = 'both lists must name that address, or a range around it';
  return { reason: 'forbidden_address', message: `the name leads to ${what}: ${remedy}` };
}

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

/** What the client of a refused CONNECT is told. One that says two things is no request (RFC 9112 §3.2). */
export function connectRefusalResponse(refusal: Refusal, asked: Asked): OwnResponse {
  const response = refusalResponse(refusal, asked);
  return refusal.reason === 'host_mismatch' ? { ...response, status: 400 } : response;
}

/** What the client of a refused request is told. */
export function refusalResponse({ reason, message }: Refusal, { host, port }: Asked): OwnResponse {
  const place = port === 0 ? printableHost(host) : `${printableHost(host)}:${port}`;
  return ownResponse(statuses[reason] ?? 403, reason, `${place} is refused: ${message}`);
}

/** What the client is told of a host that may be asked for and did not answer. */
export function unreachableResponse({ problem }: { readonly problem: 'refused' | 'timeout' }): OwnResponse {
  return problem === 'timeout'
    ? ownResponse(504, 'unreachable', 'the host is allowed, but did not answer in time')
    : ownResponse(502, 'unreachable', 'the host is allowed, but took no connection');
}

/** What the client is told of a host that answered with something else than HTTP. */
export function badAnswerResponse(): OwnResponse {
  return ownResponse(502, 'bad_answer', 'the host ended the connection, or did not answer in HTTP');
}

/** As it goes over a connection that no HTTP server of ours writes to. */
function serialize({ status, headers, body }: OwnResponse): string {
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

// A connection that is closed with bytes unread is reset, and the answer may be lost with it (RFC 9112 §9.6).
const lingerMs = 1000;

/**
 * Answers on a connection that no HTTP server of ours writes to any more, and ends it; what the client is still sending
 * is read and dropped for a moment.
 */
export function respondRaw(socket: Socket, response: OwnResponse): void {
  if (socket.destroyed) return;
  if (socket.writable) socket.end(serialize(response));
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}
