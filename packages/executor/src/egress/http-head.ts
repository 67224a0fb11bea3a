import type { IncomingMessage } from 'node:http';
import { parseAuthority } from './names-and-addresses.ts';
import { type Asked, type DenialReason, describeAuthority, type Refusal, refuse } from './refusal.ts';

/** A request's head, as Node's parser gives it. */
export interface RequestHead {
  /** The request target, as it was sent. */
  readonly url: string;
  readonly httpVersion: string;
  readonly rawHeaders: RawHeaders;
}

/** The head of a request that Node's parser has read. */
export function toHead({ url = '', httpVersion, rawHeaders }: IncomingMessage): RequestHead {
  return { url, httpVersion, rawHeaders };
}

/** A name, as `parseHostName` gives it, and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Where a request goes and how its body is framed. */
export interface HttpTarget extends HostPort {
  /** In origin form, with the query. */
  readonly path: string;
  readonly framing: Header | 'none';
}

/** A target or a refusal. */
export type HttpTargetResult =
  | { readonly ok: true; readonly target: HttpTarget }
  | { readonly ok: false; readonly refusal: Refusal };

/** The parts of a request target; in origin form there is only the path. */
interface TargetParts {
  readonly scheme?: string;
  readonly authority?: string;
  readonly path: string;
}

const httpPort = 80;

/**
 * Reads where one request is to go: by its absolute URI, or within a tunnel by its path. The URI's authority rules, and a
 * Host header that says anything else is refused rather than replaced: some server might believe it.
 * @param fixed where all requests of the tunnel go; absent: there is no tunnel
 * @param purpose `websocket`: it was found to be the handshake of one
 */
export function readHttpTarget(
  head: RequestHead,
  fixed?: HostPort,
  purpose: 'request' | 'websocket' = 'request',
): HttpTargetResult {
  const { scheme, authority, path } = splitTarget(head.url);
  if (scheme !== undefined && scheme !== 'http') return refusedTarget('bad_scheme');
  const place = authority === undefined ? fixed : readPlace(authority);
  // Without a tunnel only the Host header would say where to: an origin's business, not a proxy's.
  if (place === undefined || !path.startsWith('/')) return refusedTarget('bad_scheme');
  if (typeof place === 'string') return refusedTarget(place);
  const problem =
    findHeadProblem(head, place, fixed) ?? (purpose === 'request' ? findUpgrade(head) : undefined);
  if (problem !== undefined) return refusedTarget(problem);
  const framing = requestFraming(head.rawHeaders, head.httpVersion);
  if (framing === undefined) return refusedTarget('ambiguous_length');
  return { ok: true, target: { ...place, path, framing } };
}

/** What a request asked for, for the log: it need not be a name. */
export function describeTarget(head: RequestHead, fixed?: HostPort): Pick<Asked, 'host' | 'port'> {
  const { scheme, authority } = splitTarget(head.url);
  if (authority !== undefined) return describeAuthority(authority, scheme === 'https' ? 443 : httpPort);
  return fixed ?? describeAuthority(headerValues(head.rawHeaders, 'host')[0] ?? '', httpPort);
}

// Nothing is decoded, normalised or guessed: what a URL parser would make of it may be more than what a server reads.
function splitTarget(url: string): TargetParts {
  const parts = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(\/[^#]*)?(\?[^#]*)?$/i.exec(url);
  if (parts === null) return { path: url.includes('#') ? '' : url };
  const [, scheme = '', authority = '', path = '/', query = ''] = parts;
  return { scheme: scheme.toLowerCase(), authority, path: `${path}${query}` };
}

function readPlace(authority: string): HostPort | DenialReason {
  const read = parseAuthority(authority, httpPort);
  return read.ok ? { host: read.name, port: read.port } : read.problem;
}

function findHeadProblem(
  head: RequestHead,
  place: HostPort,
  fixed: HostPort | undefined,
): DenialReason | undefined {
  if (fixed !== undefined && !isSame(place, fixed)) return 'host_mismatch';
  const [host, ...others] = headerValues(head.rawHeaders, 'host');
  // Exactly one, but for HTTP/1.0 (RFC 9112 §3.2).
  if (others.length > 0 || (host === undefined && head.httpVersion !== '1.0')) return 'bad_request';
  if (host !== undefined && !isHostOf(host, place)) return 'host_mismatch';
  // RFC 9110 §10.1.1 knows no other.
  if (headerTokens(head.rawHeaders, 'expect').some((wish) => wish !== '100-continue')) return 'bad_request';
  return undefined;
}

function findUpgrade({ rawHeaders }: RequestHead): DenialReason | undefined {
  const connection = headerTokens(rawHeaders, 'connection');
  return connection.includes('upgrade') || headerValues(rawHeaders, 'upgrade').length > 0
    ? 'upgrade'
    : undefined;
}

/** Whether a GET is the handshake of a WebSocket (RFC 6455 §4.1), and of nothing else. */
export function isWebSocketRequest({ httpVersion, rawHeaders }: RequestHead): boolean {
  const [upgrade, ...others] = headerValues(rawHeaders, 'upgrade');
  const [key = '', ...keys] = headerValues(rawHeaders, 'sec-websocket-key');
  const named = headerTokens(rawHeaders, 'connection');
  // `Connection` may name nothing that the server has to see.
  const isPlain = named.includes('upgrade') && !named.some((name) => name.startsWith('sec-websocket-'));
  const isKey = keys.length === 0 && /^[A-Za-z0-9+/]{22}==$/.test(key);
  return (
    httpVersion === '1.1' && upgrade?.toLowerCase() === 'websocket' && others.length === 0 && isPlain && isKey
  );
}

/**
 * What speaks against the Host header of a CONNECT, whose target alone says where to (RFC 9112 §3.2.3): where it is
 * there, it must say the same, or whoever reads the one is led elsewhere than whoever reads the other.
 */
export function findConnectProblem({ rawHeaders }: RequestHead, place: HostPort): DenialReason | undefined {
  const [host, ...others] = headerValues(rawHeaders, 'host');
  if (others.length > 0) return 'bad_request';
  return host === undefined || isHostOf(host, place) ? undefined : 'host_mismatch';
}

// Without a port it is of whichever was asked for; as it is written anew, no server sees the difference.
function isHostOf(header: string, place: HostPort): boolean {
  const read = parseAuthority(header, place.port);
  return read.ok && isSame({ host: read.name, port: read.port }, place);
}

function isSame(a: HostPort, b: HostPort): boolean {
  return a.host === b.host && a.port === b.port;
}

function refusedTarget(reason: DenialReason): HttpTargetResult {
  return { ok: false, refusal: refuse(reason) };
}

/** Headers as they came: name, value, name, value. */
type RawHeaders = readonly string[];

/** One header, its name as it was written. */
export type Header = readonly [name: string, value: string];

// They concern one connection only, whatever `Connection` says (RFC 9110 §7.6.1, RFC 9112 §C.2.2), or the body's framing
// and the host, which the proxy says itself.
const ownHeaders: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The headers that go on: none of one connection alone, none that `Connection` names, none for a proxy. */
export function endToEndHeaders(raw: RawHeaders): Header[] {
  const named = new Set(headerTokens(raw, 'connection'));
  return toPairs(raw).filter(([name]) => {
    const lower = name.toLowerCase();
    return !ownHeaders.has(lower) && !named.has(lower) && !lower.startsWith('proxy-');
  });
}

/** All values of a header. */
export function headerValues(raw: RawHeaders, name: string): string[] {
  return toPairs(raw).flatMap(([key, value]) => (key.toLowerCase() === name ? [value] : []));
}

/** The members of a header that is a list, in lower case. */
function headerTokens(raw: RawHeaders, name: string): string[] {
  return headerValues(raw, name).flatMap((value) =>
    value.split(',').flatMap((token) => {
      const trimmed = token.trim().toLowerCase();
      return trimmed === '' ? [] : [trimmed];
    }),
  );
}

/** The header that says where a request's body ends, `none` without a body; undefined where it can be read in two ways. */
function requestFraming(raw: RawHeaders, httpVersion: string): Header | 'none' | undefined {
  const lengths = headerValues(raw, 'content-length');
  const encodings = headerValues(raw, 'transfer-encoding');
  const [length] = lengths;
  const [encoding] = encodings;
  if (lengths.length + encodings.length > 1) return undefined;
  if (length !== undefined) return /^\d{1,15}$/.test(length) ? ['Content-Length', length] : undefined;
  if (encoding === undefined) return 'none';
  // HTTP/1.0 knows no chunks; other encodings would be ours to undo (RFC 9112 §6.1).
  return encoding.toLowerCase() === 'chunked' && httpVersion === '1.1'
    ? ['Transfer-Encoding', 'chunked']
    : undefined;
}

/** As Node's writers take them: without what they refuse to write. */
export function toRaw(headers: readonly Header[]): string[] {
  return headers.filter(([name]) => token.test(name)).flatMap(([name, value]) => [name, toWritable(value)]);
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** A value or a reason phrase, with a space for what may stand in neither (RFC 9110 §5.5, RFC 9112 §4). */
export function toWritable(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, ' ');
}

function toPairs(raw: RawHeaders): Header[] {
  return Array.from({ length: raw.length >> 1 }, (_, index) => [
    raw[2 * index] ?? '',
    raw[2 * index + 1] ?? '',
  ]);
}
