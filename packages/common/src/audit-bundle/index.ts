export type { ApprovalStanding } from './approvals.ts';
export type { BundleFault, BundleFiles } from './fault.ts';
export { type BundleLog, logPath } from './log.ts';
export {
  bundleLimits,
  isBundlePath,
  type Manifest,
  manifestName,
  manifestSchema,
  pageName,
  parseManifest,
  places,
} from './manifest.ts';
export type { BundleOwners, OwnersVersion, OwnersWord } from './owners.ts';
export {
  type BundleChain,
  type BundleChecks,
  type BundleProgress,
  type BundleReport,
  type BundleRun,
  type BundleTrust,
  policyPath,
  projectionEnd,
  receiptPath,
  textAt,
  verifyBundle,
} from './verify.ts';
