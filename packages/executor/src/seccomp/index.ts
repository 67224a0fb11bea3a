export { loadSeccomp, type SeccompFilter, type SeccompFilters, type SeccompOptions } from './load.ts';
