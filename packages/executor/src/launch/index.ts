export { type BwrapLauncherOptions, createBwrapLauncher } from './bwrap-launcher.ts';
export { type DoctorOptions, diagnose, requireHost } from './doctor.ts';
export { endProcessesOf } from './end-users.ts';
export {
  type LaunchedProcess,
  type Launcher,
  type LaunchOutcome,
  type LaunchSpec,
  type LocalPlace,
  type OutputReadable,
  pipelineExit,
  type SandboxPlace,
  type Segment,
  type SegmentExit,
} from './launcher.ts';
export { createLocalLauncher, type LocalLauncherOptions } from './local-launcher.ts';
export { hasPlainProcess } from './processes.ts';
export { endedProcess } from './supervise.ts';
export { type Leftovers, sweepLeftovers } from './sweep.ts';
