// `csc run` as a library: gate and executor in one process, no network.
export type { LocalRunResult, RunContractOptions, Withheld } from './local/local-run.ts';
export { runContract } from './local/run.ts';
