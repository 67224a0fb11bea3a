// Apart from `@csc-fleet/common/telemetry`, so that only who shows metrics pays for loading an SDK.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import type { Meter } from '@opentelemetry/api';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  InstrumentType,
  MeterProvider,
  MetricReader,
} from '@opentelemetry/sdk-metrics';
import type { Log } from '../service/index.ts';
import type { MetricsConfig } from './config.ts';

export interface ShownMetrics {
  readonly meter: Meter;
  /** All that there is to see now, in Prometheus's text format. */
  text(): Promise<string>;
  /** Resolves to the port once it listens; undefined where it does not, which is logged and tried again. */
  listen(
    config: Pick<MetricsConfig, 'address'>,
    log: Pick<Log, 'info' | 'error'>,
  ): Promise<number | undefined>;
  close(): Promise<void>;
}

// What is not said any more is gone: with cumulative gauges the SDK would go on showing hosts that have left.
function temporalityOf(type: InstrumentType): AggregationTemporality {
  const isGauge = type === InstrumentType.GAUGE || type === InstrumentType.OBSERVABLE_GAUGE;
  return isGauge ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE;
}

/** Collects when somebody looks, and never by itself. */
class ScrapeReader extends MetricReader {
  constructor() {
    super({ aggregationTemporalitySelector: temporalityOf });
  }

  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * A service's metrics for Prometheus, with the SDK of OpenTelemetry.
 * @param service its name, for `target_info`
 */
export function createShownMetrics(
  service: string,
  version: string,
  times: ListenerTimes = usualTimes,
): ShownMetrics {
  const reader = new ScrapeReader();
  const resource = resourceFromAttributes({ 'service.name': service, 'service.version': version });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const serializer = new PrometheusSerializer('', false, undefined, false, true);
  let collecting: Promise<string> | undefined;
  // One at a time, however many look.
  const text = (): Promise<string> => {
    collecting ??= reader
      .collect()
      .then(({ resourceMetrics }) => serializer.serialize(resourceMetrics))
      .finally(() => {
        collecting = undefined;
      });
    return collecting;
  };
  const listener = new Listener(text, times);
  return {
    meter: provider.getMeter(service, version),
    text,
    listen: (config, log) => listener.start(config, log),
    close: async () => {
      await listener.stop();
      await provider.shutdown();
    },
  };
}

/** What one who connects may take, in milliseconds. */
export interface ListenerTimes {
  /** For the head of a request. */
  readonly headMs: number;
  /** For all of it, with its answer, and of the connection. */
  readonly wholeMs: number;
  /** Until an address that is taken is tried again. */
  readonly retryMs: number;
}

const usualTimes: ListenerTimes = { headMs: 3_000, wholeMs: 10_000, retryMs: 10_000 };
const mostConnections = 16;
const mostHeaderBytes = 8 * 1024;

/** `GET /metrics`, and nothing else; nobody who connects can hold it, or keep it from ending. */
class Listener {
  readonly #text: () => Promise<string>;
  readonly #times: ListenerTimes;
  #server: Server | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(text: () => Promise<string>, times: ListenerTimes) {
    this.#text = text;
    this.#times = times;
  }

  async start(config: MetricsConfig, log: Pick<Log, 'info' | 'error'>): Promise<number | undefined> {
    const { address } = config;
    try {
      this.#server = await listen(
        address,
        this.#times,
        (request, response) => void this.#answer(request, response),
      );
      const { port } = this.#server.address() as AddressInfo;
      log.info({ address, port }, 'metrics can be read: GET /metrics');
      return port;
    } catch (error) {
      // Nobody's work should end for that; the process before this one may be about to go.
      log.error(
        { error, address },
        'no metrics: cannot listen at telemetry.metrics.address; it is tried again',
      );
      this.#retry = setTimeout(() => void this.start(config, log), this.#times.retryMs).unref();
      return undefined;
    }
  }

  stop(): Promise<void> {
    clearTimeout(this.#retry);
    const server = this.#server;
    if (server === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const end = (status: number, body: string): void => {
      response.writeHead(status, {
        'content-type': 'text/plain; version=0.0.4; charset=utf-8',
        connection: 'close',
      });
      response.end(body);
    };
    const [path] = (request.url ?? '').split('?');
    if (!isMeant(request)) return end(403, 'ask for it by its address\n');
    if (path !== '/metrics') return end(404, 'there is /metrics, and nothing else\n');
    if (request.method !== 'GET') return end(405, 'GET it\n');
    try {
      end(200, await this.#text());
    } catch {
      end(500, '# the metrics could not be collected\n');
    }
  }
}

// A page in a browser of this host can have its own name mean this address (DNS rebinding), but not hide that name.
function isMeant({ headers, socket }: IncomingMessage): boolean {
  const own = socket.localAddress ?? '';
  if (!own.startsWith('127.') && own !== '::1') return true;
  const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return isIP(host) !== 0 || host === 'localhost';
}

function listen(
  address: string,
  { headMs, wholeMs }: ListenerTimes,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Server> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const server = createServer(
    {
      headersTimeout: headMs,
      requestTimeout: wholeMs,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: mostHeaderBytes,
      keepAlive: false,
    },
    answer,
  );
  server.maxConnections = mostConnections;
  // Whole, with its answer read: one byte every few seconds is no way to keep a connection.
  server.on('connection', (socket) => {
    const late = setTimeout(() => socket.destroy(), wholeMs).unref();
    socket.once('close', () => clearTimeout(late));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(address.slice(at + 1)), host, () => {
      server.off('error', reject);
      // Of a connection that broke: nobody waits for it.
      server.on('error', () => undefined);
      resolve(server);
    });
    server.unref();
  });
}
