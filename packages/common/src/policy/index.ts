export {
  type Bindings,
  bindingsFromJson,
  bindingsSchema,
  bindPolicy,
  checkBindings,
  parseBindings,
} from './bindings.ts';
export { readPolicyDirectory } from './directory.ts';
export type { EffectRule } from './effect-rule.ts';
export { grantedVariables } from './granted-variables.ts';
export { identityPattern, matchesPattern } from './identity-pattern.ts';
export {
  maxPolicyBytes,
  type PolicyDocument,
  parsePolicy,
  policyFromJson,
  readPolicyFile,
} from './policy.ts';
export { createPolicySet, type PolicySet } from './policy-set.ts';
export {
  createReloadableBindings,
  createReloadablePolicySet,
  type ReloadableBindings,
  type ReloadablePolicySet,
  type ReloadOptions,
} from './reloadable.ts';
export { type Sample, samplesSchema } from './sample-schema.ts';
export { checkSamples, parseSamples } from './samples.ts';
export {
  type Policy,
  type PolicyVersion,
  policyV01Schema,
  policyV02Schema,
} from './schema.ts';
