// W3C Trace Context (https://www.w3.org/TR/trace-context/): who belongs to which trace, as it travels between processes.
// It is a hint of whoever sent it: it goes to traces and logs, and nothing is decided by it.

/** Where something belongs in a trace. */
export interface TraceContext {
  /** `00-TRACE_ID-SPAN_ID-FLAGS`, in lower-case hex. */
  readonly traceparent: string;
  /** What vendors add, as it came. Empty: nothing. */
  readonly tracestate: string;
}

// §3.2: of a later version what this one knows of it counts, whatever follows.
const traceparentForm =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const maxTraceparent = 256;

// §3.3.1: up to 32 members of up to 512 characters together, as every party has to pass on at least.
const maxTracestate = 512;
const maxMembers = 32;
const member =
  /^(?:[a-z0-9][a-z0-9_\-*/]{0,240}@)?[a-z0-9][a-z0-9_\-*/]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** What a peer says of a trace; undefined where that is malformed or absent. A malformed tracestate alone is left out. */
export function parseTraceContext(traceparent: unknown, tracestate: unknown = ''): TraceContext | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > maxTraceparent) return undefined;
  const [, traceId, spanId, flags, rest] = traceparentForm.exec(traceparent) ?? [];
  if (traceId === undefined || (rest !== undefined && traceparent.startsWith('00'))) return undefined;
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate: toTracestate(tracestate) };
}

function toTracestate(text: unknown): string {
  if (typeof text !== 'string' || text.length > maxTracestate) return '';
  const members = text.split(',').map((it) => it.trim());
  const filled = members.filter((it) => it !== '');
  if (filled.length > maxMembers || !filled.every((it) => member.test(it))) return '';
  const keys = filled.map((it) => it.slice(0, it.indexOf('=')));
  return new Set(keys).size === keys.length ? filled.join(',') : '';
}

/** The trace that it is of: 32 digits of lower-case hex. */
export function traceIdOf({ traceparent }: TraceContext): string {
  return traceparent.slice(3, 35);
}

/** As one text, for a database. */
export function toStoredTrace({ traceparent, tracestate }: TraceContext): string {
  return tracestate === '' ? traceparent : `${traceparent} ${tracestate}`;
}

/** What `toStoredTrace` gave; undefined for null, and for what it did not give. */
export function fromStoredTrace(text: string | null | undefined): TraceContext | undefined {
  if (text === null || text === undefined) return undefined;
  const end = text.indexOf(' ');
  return end < 0 ? parseTraceContext(text) : parseTraceContext(text.slice(0, end), text.slice(end + 1));
}
