// Loads the SDK of OpenTelemetry: to be imported only where an owner has asked for traces.
import type { Agent } from 'node:http';
import { Socket } from 'node:net';
import {
  type Context,
  type ContextManager,
  context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { ExportResultCode, TraceState } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { TracesConfig } from './config.ts';
import type { TraceContext } from './trace-context.ts';
import type { ActiveSpan, BeginSpan, SpanFacts, TracedService, TracesLog, Tracing } from './tracing.ts';

// Spans that wait for their collector, a few kilobytes each; what comes while so many wait is dropped.
const maxWaiting = 2048;
const batch = 512;
const everyMs = 2_000;
// A collector that is dead or slow costs a request at a time and the memory of what waits, and nobody's time.
const requestMs = 2_000;
const closeMs = 1_000;
const limits = {
  attributeValueLengthLimit: 256,
  attributeCountLimit: 16,
  eventCountLimit: 0,
  linkCountLimit: 0,
};

/** Sends spans to the owner's collector by OTLP/HTTP, in batches, behind everybody's back. Never throws for what is sent. */
export function openTracing(config: TracesConfig, service: TracedService, log: TracesLog): Tracing {
  return tracingTo(toCollector(config, log), config.sampleRatio, service);
}

/**
 * The same of all that this process, which traces by nothing else, tells OpenTelemetry's API, as a client does.
 * @param parent which trace the process is part of. Undefined: it begins one
 */
export function registerTracing(
  config: TracesConfig,
  service: TracedService,
  log: TracesLog,
  parent: TraceContext | undefined,
): Pick<Tracing, 'close'> {
  const provider = providerTo(toCollector(config, log), config.sampleRatio, service);
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(always(toContext(parent)));
  return {
    close: () => {
      trace.disable();
      context.disable();
      return within(closeMs, provider.shutdown());
    },
  };
}

// One place for whatever is begun: nothing here is handed on behind its caller's back.
function always(active: Context): ContextManager {
  const manager: ContextManager = {
    active: () => active,
    with: (_, run, self, ...args) => run.apply(self, args),
    bind: (_, target) => target,
    enable: () => manager,
    disable: () => manager,
  };
  return manager;
}

function toCollector({ endpoint }: TracesConfig, log: TracesLog): SpanProcessor {
  const exporter = new OTLPTraceExporter({
    url: endpoint,
    timeoutMillis: requestMs,
    concurrencyLimit: 1,
    httpAgentOptions: unheldAgent,
  });
  return batched(telling(exporter, endpoint, log));
}

// Of connections that do not keep a process that is done.
async function unheldAgent(protocol: string): Promise<Agent> {
  const { Agent } = protocol === 'https:' ? await import('node:https') : await import('node:http');
  const agent = new Agent({ keepAlive: false });
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const socket = connect(options, callback);
    if (socket instanceof Socket) socket.unref();
    return socket;
  };
  return agent;
}

/** The same exporter, whose owner hears once that it does not get through, and once that it does again. */
function telling(exporter: SpanExporter, endpoint: string, log: TracesLog): SpanExporter {
  let isInTrouble = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const isFailed = result.code !== ExportResultCode.SUCCESS;
        if (isFailed && !isInTrouble)
          log.warn(
            { endpoint, why: result.error?.message ?? '' },
            'traces do not reach their collector: they are dropped',
          );
        if (!isFailed && isInTrouble) log.info({ endpoint }, 'traces reach their collector again');
        isInTrouble = isFailed;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush === undefined
      ? {}
      : { forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve() }),
  };
}

/** The processor of `openTracing`. */
function batched(exporter: SpanExporter): SpanProcessor {
  return new BatchSpanProcessor({
    exporter,
    maxQueueSize: maxWaiting,
    maxExportBatchSize: batch,
    scheduledDelayMillis: everyMs,
    exportTimeoutMillis: requestMs,
  });
}

/** @param sampleRatio of the traces that begin here; what a client has begun is traced as it says */
export function tracingTo(processor: SpanProcessor, sampleRatio: number, service: TracedService): Tracing {
  const provider = providerTo(processor, sampleRatio, service);
  const tracer = provider.getTracer('csc-fleet', service.version);
  return {
    begin: (name, options) => begin(tracer, name, options),
    close: () => within(closeMs, provider.shutdown()),
  };
}

function providerTo(processor: SpanProcessor, sampleRatio: number, service: TracedService): TracerProvider {
  return new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': service.name,
      'service.version': service.version,
      'service.instance.id': service.instance,
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }),
    spanLimits: limits,
    spanProcessors: [processor],
  });
}

const kinds = { internal: SpanKind.INTERNAL, server: SpanKind.SERVER, client: SpanKind.CLIENT };

function begin(
  tracer: Tracer,
  name: string,
  { parent, kind = 'internal', since, facts }: BeginSpan,
): ActiveSpan {
  const started = { kind: kinds[kind], ...(since === undefined ? {} : { startTime: since }) };
  const span = tracer.startSpan(name, { ...started, attributes: { ...facts } }, toContext(parent));
  let isOver = false;
  return {
    context: contextOf(span, parent),
    note: (more: SpanFacts) => void span.setAttributes({ ...more }),
    end: (reason) => {
      if (isOver) return;
      isOver = true;
      if (reason !== undefined) {
        span.setAttributes({ 'csc.reason': reason, 'error.type': reason });
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    },
  };
}

function toContext(parent: TraceContext | undefined) {
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceparent, tracestate } = parent;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number.parseInt(traceparent.slice(53, 55), 16),
    isRemote: true,
    ...(tracestate === '' ? {} : { traceState: new TraceState(tracestate) }),
  });
}

function contextOf(span: Span, parent: TraceContext | undefined): TraceContext {
  const { traceId, spanId, traceFlags } = span.spanContext();
  const flags = traceFlags.toString(16).padStart(2, '0');
  return { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate: parent?.tracestate ?? '' };
}

async function within(ms: number, closing: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([closing.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}
