export { zodFaults } from '../errors/index.ts';
export { parseConfig, readConfig, resolveFrom } from './config.ts';
