export { createGateRepository, type GateRepository, type RepositoryOptions } from './repository.ts';
export {
  createOwners,
  type HostSubject,
  type Owners,
  type OwnersWord,
  type ReloadableOwners,
  type StopSubject,
} from './word.ts';
