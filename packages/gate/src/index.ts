export { createGate, type Gate, type GateDependencies, type GateOptions } from './compose.ts';
export {
  defaultGateLimits,
  type GateConfig,
  type GateLimits,
  type OutputLimits,
  readGateConfig,
} from './config.ts';
export type { LinkSession } from './link/session.ts';
