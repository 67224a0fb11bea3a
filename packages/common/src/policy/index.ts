export type { AllowRule } from './allow-rule.ts';
export type { ApprovalRule } from './approval-rule.ts';
export {
  type Binding,
  type Bindings,
  bindingOf,
  bindingsFromJson,
  bindingsSchema,
  bindingsV02Schema,
  bindPolicy,
  checkBindings,
  parseBindings,
  submitterKeys,
} from './bindings.ts';
export type { EffectRule } from './effect-rule.ts';
export { identityPattern, matchesPattern } from './identity-pattern.ts';
export { isNamedProgram } from './named-program.ts';
export {
  grantedVariables,
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
export {
  type Policy,
  type PolicyVersion,
  policyV01Schema,
  policyV02Schema,
} from './schema.ts';
