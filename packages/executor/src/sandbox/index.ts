export { bwrapArguments, type DescriptorNumbers, numberDescriptors } from './bwrap-arguments.ts';
export { type Check, failed, passed, requireChecks } from './check.ts';
export { askBwrap } from './check-bwrap.ts';
export { findExecutable, type NotRunnable } from './find-executable.ts';
export { expandGlob, isGlob, stripTree } from './glob.ts';
export type { HostFacts, JobUser, SystemLink } from './host-facts.ts';
export type { RunAs } from './job-user.ts';
export { descriptorPath } from './open-path.ts';
export {
  defaultSizes,
  type Mount,
  type Namespace,
  namespaces,
  planSandbox,
  type SandboxCommand,
  type SandboxPlan,
  type SandboxSizes,
  scopeDescriptors,
} from './plan.ts';
export { defaultBwrapPath, type ProbeOptions, probeHost } from './probe-host.ts';
export { describeLocal, describeSandbox, type SandboxReport, sandboxProfileId } from './profile.ts';
export { resolveScopes } from './resolve-scopes.ts';
export type { ResolvedScopes, ScopeBind, ScopeLink, ScopePrefixes, ScopeRequest } from './scopes.ts';
