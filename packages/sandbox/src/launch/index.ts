export { waitUntilBuilt } from './built.ts';
export { createBwrapLauncher } from './bwrap-launcher.ts';
export { prlimitPath } from './bwrap-segment.ts';
export { createFifoPool } from './fifo-pool.ts';
export {
  type LaunchedProcess,
  type Launcher,
  type LaunchOutcome,
  type LocalPlace,
  pipelineExit,
  type SandboxPlace,
} from './launcher.ts';
export { createLocalLauncher } from './local-launcher.ts';
export { endedProcess } from './supervise.ts';
