export { type MetricsConfig, type TelemetryConfig, type TracesConfig, telemetrySchema } from './config.ts';
