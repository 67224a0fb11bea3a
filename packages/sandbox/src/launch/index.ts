export { waitUntilBuilt } from './built.ts';
export { type BwrapLauncher, createBwrapLauncher } from './bwrap-launcher.ts';
export { findCscConfine, findCscLauncher, prlimitPath } from './csc-launcher.ts';
export {
  type LaunchedProcess,
  type Launcher,
  type LaunchOutcome,
  type LocalPlace,
  type OutputReadable,
  pipelineExit,
  type SandboxPlace,
  type TerminalEnds,
} from './launcher.ts';
export { createLocalLauncher } from './local-launcher.ts';
export { findPipeMaker } from './pipe-batch.ts';
export { createPipePool } from './pipe-pool.ts';
export { endedProcess } from './supervise.ts';
