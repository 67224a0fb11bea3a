export {
  bwrapArguments,
  type DescriptorNumbers,
  numberDescriptors,
} from './bwrap-arguments.ts';
export { describeLocal, describeSandbox, sandboxProfileId } from './describe.ts';
export { copiedEtc, liveEtc, madeUpEtc } from './etc-table.ts';
export { findTooLong, type NotRunnable } from './explain-start.ts';
export { type HostFacts, type KeptPlace, keepingState, type SystemLink, toRunFacts } from './facts.ts';
export {
  createFindProgram,
  type Executable,
  type FindProgram,
  findExecutable,
} from './find-executable.ts';
export { type EtcView, gatherEtc } from './gather-etc.ts';
export { expandDeclared } from './glob.ts';
export { recallEtc } from './kept-etc.ts';
export { defaultReserve, defaultRunLimits, type RunLimits } from './limits.ts';
export { LiveScopes, type Reach as LiveReach } from './live-scopes.ts';
export {
  etcDescriptor,
  type MadeUpFile,
  type Mount,
  type Namespace,
  namespaces,
  planSandbox,
  type SandboxPlan,
  scopeDescriptors,
  toSecretDescriptor,
} from './plan.ts';
export { type MadePaths, makeMissing, resolveScopes } from './resolve-scopes.ts';
export { type ClaimedScopes, ScopeClaims } from './scope-claims.ts';
export type { ResolvedScopes, ScopeRequest } from './scopes.ts';
export { userPlaces } from './user-places.ts';
export { resolverPaths, toSecretPath } from './view.ts';
