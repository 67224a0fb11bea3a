export { type Artifact, signArtifact, signObject, type Unsigned, verifyArtifact } from './artifact.ts';
export {
  type Chain,
  type ChainEntry,
  type ChainFault,
  type ChainPlace,
  findFault,
  judgeTrustDomains,
  walkChains,
} from './chain.ts';
export { openChainHead, signChainHead } from './chain-head.ts';
export { type ClaimedKey, signExecutorKey, verifyExecutorKey } from './executor-key.ts';
export { identifySubmission, openSubmission, type SubmissionContext } from './open-submission.ts';
export { openTicket, type TicketContext } from './open-ticket.ts';
export {
  type CertifiedKey,
  certifiedKey,
  checkNames,
  checkTrustDomain,
  type FleetCa,
  parseCertificates,
  pemBlocks,
  readListed,
  readReceiptLeaf,
  unproven,
  verifyCertificates,
} from './receipt-certificate.ts';
export { readReceiptJson } from './receipt-json.ts';
export { type ReceiptOutcome, toOutcome } from './receipt-outcome.ts';
export {
  type GenuineResolution,
  type OwnersKeys,
  openResolution,
  ownersKeyId,
  type ResolutionContext,
  readOwnersKeys,
  signResolution,
} from './resolution.ts';
export {
  type ChainedReceipt,
  type ChainLink,
  type Sealing,
  type SignedReceipt,
  sealChained,
  sealReceipt,
  toReceiptError,
} from './seal-receipt.ts';
export { checkSignersDomain, findSigner, type ReceiptSigner } from './signer-rules.ts';
export type { ExpectedReceipt } from './subject-rules.ts';
export { type SubmissionSigner, signSubmission, verifySubmission } from './submission-signature.ts';
export { claimedKeyId, type GenuineReceipt, type ReceiptTexts, verifyReceiptFor } from './verify-receipt.ts';
