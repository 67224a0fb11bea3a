import { collectorForm, isCollector, parseTraceContext } from '@csc-fleet/common/tracing';
import { version } from '@csc-fleet/common/version';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Does something whose calls go to the collector that the environment names by OpenTelemetry's own variables, as part of the
 * trace of TRACEPARENT; nothing is loaded or sent where it names none. What is under way when it is over is sent, for a second at
 * most, and a collector that is away costs nothing else.
 * @param say told once why there are no traces
 */
export async function tracedBy<T>(
  env: Environment,
  say: (line: string) => void,
  body: () => Promise<T>,
): Promise<T> {
  const endpoint = endpointOf(env);
  if (endpoint === undefined) return body();
  if (!isCollector(endpoint)) {
    say(`csc: no traces are sent: what OTEL_EXPORTER_OTLP_ENDPOINT names ${collectorForm}`);
    return body();
  }
  const { registerTracing } = await import('@csc-fleet/common/open-tracing');
  const traces = registerTracing(
    { endpoint, sampleRatio: 1 },
    { name: env['OTEL_SERVICE_NAME'] || 'csc', version, instance: String(process.pid) },
    {
      info: () => undefined,
      warn: ({ why }, message) => say(`csc: ${message} (${endpoint}): ${String(why)}`),
    },
    parseTraceContext(env['TRACEPARENT'], env['TRACESTATE']),
  );
  try {
    return await body();
  } finally {
    await traces.close();
  }
}

/**
 * As OpenTelemetry's specification of exporters has it; undefined: nobody asks for traces, or for some that csc does
 * not send.
 */
function endpointOf(env: Environment): string | undefined {
  const { OTEL_SDK_DISABLED: disabled, OTEL_TRACES_EXPORTER: exporter = 'otlp' } = env;
  const protocol = env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || env['OTEL_EXPORTER_OTLP_PROTOCOL'];
  if (disabled?.toLowerCase() === 'true' || !exporter.split(',').includes('otlp') || protocol === 'grpc')
    return undefined;
  const own = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  if (own !== undefined && own !== '') return own;
  const base = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return base === undefined || base === '' ? undefined : `${base.replace(/\/$/, '')}/v1/traces`;
}
