export { type CeilingRequest, checkCeiling, defaultCeiling, type HostCeiling } from './ceiling.ts';
export { ceilingConfig, toHostCeiling } from './ceiling-config.ts';
