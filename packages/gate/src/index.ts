export type { ExecutorConnection, Remote } from './link/connection.ts';
export type { StreamLimits } from './output/grant.ts';
export type { GateMethods } from './rpc/methods.ts';
export { createGate, type Gate, type GateDependencies, type GateOptions } from './service/compose.ts';
export {
  defaultGateLimits,
  defaultRetention,
  type GateConfig,
  type GateLimits,
  readGateConfig,
} from './service/config.ts';
