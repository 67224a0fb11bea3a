export { loadSeccomp, type SeccompFilter, type SeccompOptions } from './load.ts';
