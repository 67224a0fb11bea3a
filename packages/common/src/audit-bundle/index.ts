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
  type BundleFault,
  type BundleFiles,
  type BundleReport,
  type BundleRun,
  type BundleTrust,
  policyPath,
  projectionEnd,
  receiptPath,
  textAt,
  verifyBundle,
} from './verify.ts';
