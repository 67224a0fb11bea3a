export { type MetricsConfig, type TelemetryConfig, type TracesConfig, telemetrySchema } from './config.ts';
export {
  createInstruments,
  createTimed,
  type InstrumentFacts,
  type Instruments,
  type InstrumentTable,
  type LabelFacts,
  secondBuckets,
  type Timed,
  untimed,
} from './instruments.ts';
export { openMetrics, type ServiceMetrics } from './open-metrics.ts';
export {
  observeService,
  type PolicyWord,
  type ServiceFacts,
  serviceInstruments,
} from './service-metrics.ts';
