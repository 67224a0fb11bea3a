import type { Meter } from '@opentelemetry/api';
import type { Log } from '../service/index.ts';
import { version } from '../service/version.ts';
import type { TelemetryConfig } from './config.ts';
import { createInstruments } from './instruments.ts';
import { observeService, type ServiceFacts, serviceInstruments } from './service-metrics.ts';

/** The metrics of a service whose config asks for them. */
export interface ServiceMetrics {
  /** Instruments are made with it. */
  readonly meter: Meter;
  /** Tells what every service tells, and shows it all at the config's address; that it cannot is logged. */
  start(log: Pick<Log, 'info' | 'error'>, facts: Omit<ServiceFacts, 'version' | 'now'>): Promise<void>;
  close(): Promise<void>;
}

/** Undefined where the config does not ask for metrics: then no SDK is loaded, and nothing measured. */
export async function openMetrics(
  config: TelemetryConfig | undefined,
  service: string,
): Promise<ServiceMetrics | undefined> {
  if (config?.metrics === undefined) return undefined;
  const { metrics } = config;
  const { createShownMetrics } = await import('./prometheus.ts');
  const shown = createShownMetrics(service, version);
  let stop = (): void => undefined;
  return {
    meter: shown.meter,
    start: async (log, facts) => {
      const instruments = createInstruments(shown.meter, serviceInstruments);
      stop = observeService(instruments, { ...facts, version, now: () => new Date() });
      await shown.listen(metrics, log);
    },
    close: async () => {
      stop();
      await shown.close();
    },
  };
}
