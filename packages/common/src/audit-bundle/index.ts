export type { ApprovalStanding } from './approvals.ts';
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
export {
  type BundleChain,
  type BundleChecks,
  type BundleFault,
  type BundleFiles,
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
