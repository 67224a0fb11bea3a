export { type HostRule, hasLabels, hostsSchema, parseHosts, rulesFor } from './hosts.ts';
export {
  headOf,
  type Issuer,
  type IssuerKey,
  issuersSchema,
  jwkSchema,
  maxIssuerKeys,
  parseIssuers,
  strangeClaims,
} from './issuers.ts';
export { logSchema, type OwnersLog, parseLog } from './log.ts';
export {
  createRevocations,
  describeFreeze,
  describeRevocation,
  type Freeze,
  freezeSchema,
  type HostNames,
  type NamedKey,
  parseFreeze,
  parseRevoked,
  type Revocation,
  type RevocationSubject,
  type Revocations,
  revocationKinds,
  revokedSchema,
} from './revoked.ts';
export type { SignedVersion } from './signed-version.ts';
export { createFreezeTeller } from './tell-freeze.ts';
