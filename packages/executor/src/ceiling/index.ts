export { buildCeiling, checkCeiling, type HostCeiling } from './ceiling.ts';
