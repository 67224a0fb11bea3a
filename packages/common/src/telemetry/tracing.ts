// What gate and executor tell of their doings to who traces. Loads nothing of OpenTelemetry: open-tracing.ts does, where
// an owner has asked for traces.
import type { Log } from '../service/index.ts';
import type { TelemetryConfig } from './config.ts';
import type { TraceContext } from './trace-context.ts';

export { collectorForm, isCollector } from './collector.ts';
export {
  fromStoredTrace,
  parseTraceContext,
  type TraceContext,
  toStoredTrace,
  traceIdOf,
} from './trace-context.ts';

/** What a span may say. Never an argument, an environment, a path, a secret or output: the list is closed for that. */
export interface SpanFacts {
  readonly 'csc.execution.id'?: string;
  readonly 'csc.executor.id'?: string;
  readonly 'csc.profile'?: string;
  /** A verdict, the state of an execution or how a command ended. */
  readonly 'csc.outcome'?: string;
  /** A code of docs/errors.md or of a decision. */
  readonly 'csc.reason'?: string;
  /** From 0, in its contract. */
  readonly 'csc.command.index'?: number;
  /** OpenTelemetry's semantic conventions for RPC. */
  readonly 'rpc.system.name'?: 'grpc';
  /** `PACKAGE.SERVICE/METHOD` */
  readonly 'rpc.method'?: string;
  readonly 'rpc.status_code'?: string;
  readonly 'error.type'?: string;
}

export interface BeginSpan {
  /** Absent: it begins a trace of its own. */
  readonly parent?: TraceContext | undefined;
  readonly kind?: 'internal' | 'server' | 'client';
  /** When it began. Absent: now. */
  readonly since?: Date;
  readonly facts?: SpanFacts;
}

/** Something that is under way. */
export interface ActiveSpan {
  /** For what belongs under it, here and elsewhere. */
  readonly context: TraceContext;
  note(facts: SpanFacts): void;
  /** Over; only the first call counts. @param reason of the failure. Absent: it went well */
  end(reason?: string): void;
}

/** Which service it is that tells. */
export interface TracedService {
  /** `csc-gate` or `csc-executor`. */
  readonly name: string;
  readonly version: string;
  /** The gate's or the executor's own id. */
  readonly instance: string;
}

/** Told that traces do not get through. */
export type TracesLog = Pick<Log, 'info' | 'warn'>;

/** Where spans go. Whoever has none has undefined instead: what is off costs a question. */
export interface Tracing {
  begin(name: string, options: BeginSpan): ActiveSpan;
  /** Sends what waits, for a moment at most. */
  close(): Promise<void>;
}

/** Undefined where the config asks for no traces: then no SDK is loaded, and nothing is traced. */
export async function openTraces(
  config: TelemetryConfig | undefined,
  service: TracedService,
  log: TracesLog,
): Promise<Tracing | undefined> {
  if (config?.traces === undefined) return undefined;
  const { openTracing } = await import('./open-tracing.ts');
  return openTracing(config.traces, service, log);
}

/** Does something as a span of its own, where there is tracing. It ends with the code of what is thrown. */
export async function traced<T>(
  tracing: Tracing | undefined,
  name: string,
  options: BeginSpan,
  body: () => T | Promise<T>,
): Promise<T> {
  if (tracing === undefined) return body();
  const span = tracing.begin(name, options);
  try {
    const value = await body();
    span.end();
    return value;
  } catch (error) {
    span.end(toReason(error));
    throw error;
  }
}

/** The same of something that gives its value at once. */
export function tracedNow<T>(
  tracing: Tracing | undefined,
  name: string,
  options: BeginSpan,
  body: () => T,
): T {
  if (tracing === undefined) return body();
  const span = tracing.begin(name, options);
  try {
    const value = body();
    span.end();
    return value;
  } catch (error) {
    span.end(toReason(error));
    throw error;
  }
}

/** The code of an error of ours; INTERNAL for any other, whose text may hold anything. */
export function toReason(error: unknown): string {
  const code = error instanceof Error && error.name === 'CscError' ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? code : 'INTERNAL';
}
