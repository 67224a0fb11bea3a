export { declaredPath, policyPrefix, reportedPath } from './absolute-path.ts';
export { acceptsMembers } from './accepts.ts';
export { type EgressHost, egressHost, egressHostEntry, egressHostText, egressName } from './egress-host.ts';
export {
  type GrantedLimits,
  grantedLimitsSchema,
  type LimitName,
  type Limits,
  limitNames,
  limitsSchema,
  narrowLimits,
} from './limits.ts';
export {
  maxTerminalSide,
  type TerminalRules,
  type TerminalWish,
  terminalMember,
  terminalRules,
} from './terminal.ts';
export {
  boundedText,
  epochMember,
  groupName,
  labelName,
  labelsMember,
  labelValue,
  maxLabels,
  name,
  nonEmptyText,
  sha256Member,
  taggedSha256Member,
  timestamp,
  unsupportedVersion,
  versionMember,
} from './texts.ts';
export { parseArtifact, validate } from './validate.ts';
export {
  count,
  integer,
  oneOf,
  type Signature,
  signatureMember,
  type TokenAlgorithm,
  tokenAlgorithms,
  uniqueList,
} from './values.ts';
