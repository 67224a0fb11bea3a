export { loadSeccomp, type SeccompFilters } from './load.ts';
