export {
  type Envelope,
  maxEnvelopeBytes,
  openEnvelope,
  openEnvelopeText,
  parseEnvelope,
  preAuthEncoding,
  statementMediaType,
  toEnvelope,
} from './envelope.ts';
export { type ExecutionPredicate, executionPredicate, executionPredicateSchema } from './predicate.ts';
export {
  attest,
  contractBuildType,
  envelopesOf,
  type Statement,
  slsaProvenance,
  statementsOf,
} from './statements.ts';
