export { loadSeccomp, ownFilter, type SeccompFilters } from './load.ts';
