export {
  bwrapArguments,
  type DescriptorNumbers,
  numberDescriptors,
  prlimitArguments,
} from './bwrap-arguments.ts';
export { type Check, failed, passed, requireChecks } from './check.ts';
export { askBwrap } from './check-bwrap.ts';
export { checkPool } from './check-pool.ts';
export { type Executable, findExecutable, type NotRunnable } from './find-executable.ts';
export { expandGlob, isGlob, stripTree } from './glob.ts';
export {
  type CgroupMechanism,
  type HostFacts,
  type JobUser,
  type JobUsers,
  type RunFacts,
  type SystemLink,
  toRunFacts,
} from './host-facts.ts';
export { isPool, type RunAs, type RunAsPool } from './job-user.ts';
export { LiveScopes } from './live-scopes.ts';
export { descriptorPath, O_PATH } from './open-path.ts';
export {
  type Mount,
  type Namespace,
  namespaces,
  planSandbox,
  type SandboxCommand,
  type SandboxPlan,
  scopeDescriptors,
  toSecretDescriptor,
} from './plan.ts';
export { defaultBwrapPath, type ProbeOptions, probeHost } from './probe-host.ts';
export { describeLocal, describeSandbox, sandboxProfileId } from './profile.ts';
export { checkTools, toolPath } from './programs.ts';
export { resolveScopes } from './resolve-scopes.ts';
export type { ResolvedScopes, ScopeBind, ScopeLink, ScopePrefixes, ScopeRequest } from './scopes.ts';
export { toSecretPath } from './view.ts';
