// createGateRepository is imported where a repository is configured, and only then: it brings the library that verifies it.
export type { GateRepository, RepositoryOptions } from './repository.ts';
export {
  createOwners,
  type HostSubject,
  type Owners,
  type OwnersWord,
  type PrincipalLimits,
  type ReloadableOwners,
  type StopSubject,
} from './word.ts';
