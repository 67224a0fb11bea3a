// The trace that whoever uses this client is in, if it traces: by OpenTelemetry's API, with whatever SDK the caller has.

import { Metadata } from '@grpc/grpc-js';
import type { Context, Span } from '@opentelemetry/api';

/** A place in the caller's trace, which calls are told of. */
export type CallerContext = Context;

// What the API keeps there is there once somebody has registered a provider (api/src/internal/global-utils.ts): a caller
// that does not trace need not load it.
const registry = Symbol.for('opentelemetry.js.api.1');

/** False where nobody traces: all that this costs then. */
export function isTraced(): boolean {
  const found: unknown = Reflect.get(globalThis, registry);
  return typeof found === 'object' && found !== null && 'trace' in found;
}

/** What is known of a run when it is over. Never what it was told to do, nor what it said. */
export type RunFacts = Readonly<
  Partial<Record<`csc.${'execution.id' | 'executor.id' | 'profile' | 'outcome' | 'reason'}`, string>>
>;

/** Does something as a span of the caller's, with the place for what belongs under it. */
export async function inSpan<T>(
  name: string,
  body: (within: CallerContext) => Promise<T>,
  factsOf: (value: T) => RunFacts,
): Promise<T> {
  const { context, SpanStatusCode, trace } = await import('@opentelemetry/api');
  const span = trace.getTracer('@csc-fleet/client').startSpan(name);
  try {
    const value = await body(trace.setSpan(context.active(), span));
    span.setAttributes({ ...factsOf(value) });
    return value;
  } catch (error) {
    fail(span, error, SpanStatusCode.ERROR);
    throw error;
  } finally {
    span.end();
  }
}

/** One call as it is traced. */
export interface TracedCall {
  /** With W3C's traceparent and tracestate. */
  readonly metadata: Metadata;
  /** Over; with what it failed with, if it did. */
  end(error?: unknown): void;
}

/** Begins a call of the client's, by OpenTelemetry's semantic conventions for RPC. @param path `/SERVICE/METHOD` */
export async function beginCall(path: string, within: CallerContext | undefined): Promise<TracedCall> {
  const { context, SpanKind, SpanStatusCode, trace } = await import('@opentelemetry/api');
  const method = path.slice(1);
  const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': method };
  const span = trace
    .getTracer('@csc-fleet/client')
    .startSpan(method, { kind: SpanKind.CLIENT, attributes }, within ?? context.active());
  return {
    metadata: toMetadata(span),
    end: (error) => {
      if (error !== undefined) fail(span, error, SpanStatusCode.ERROR);
      span.end();
    },
  };
}

function fail(span: Span, error: unknown, code: 2): void {
  const reason = error instanceof Error && 'code' in error ? String(error.code) : 'INTERNAL';
  span.setAttributes({ 'csc.reason': reason, 'error.type': reason });
  span.setStatus({ code });
}

// W3C Trace Context §3.2.
function toMetadata(span: Span): Metadata {
  const metadata = new Metadata();
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  if (/^0*$/.test(traceId)) return metadata;
  metadata.set('traceparent', `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`);
  const state = traceState?.serialize() ?? '';
  if (/^[\x20-\x7e]{1,512}$/.test(state)) metadata.set('tracestate', state);
  return metadata;
}
