/** Headers as they came: name, value, name, value. */
export type RawHeaders = readonly string[];

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
export function headerTokens(raw: RawHeaders, name: string): string[] {
  return headerValues(raw, name).flatMap((value) =>
    value.split(',').flatMap((token) => {
      const trimmed = token.trim().toLowerCase();
      return trimmed === '' ? [] : [trimmed];
    }),
  );
}

/** The header that says where a request's body ends, `none` without a body; undefined where it can be read in two ways. */
export function requestFraming(raw: RawHeaders, httpVersion: string): Header | 'none' | undefined {
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
