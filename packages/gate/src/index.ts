export type { LinkSession } from './link/session.ts';
export { createGate, type Gate, type GateDependencies, type GateOptions } from './service/compose.ts';
export {
  defaultGateLimits,
  type GateConfig,
  type GateLimits,
  type OutputLimits,
  readGateConfig,
} from './service/config.ts';
