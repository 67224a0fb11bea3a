export { type Artifact, signArtifact, signObject, type Unsigned, verifyArtifact } from './artifact.ts';
export { type ClaimedKey, signExecutorKey, verifyExecutorKey } from './executor-key.ts';
export { openSubmission, type SubmissionContext } from './open-submission.ts';
export { openTicket, type TicketContext } from './open-ticket.ts';
export { type ReceiptOutcome, toOutcome } from './receipt-outcome.ts';
export { type Sealing, type SignedReceipt, sealReceipt, toReceiptError } from './seal-receipt.ts';
export { findSigner, type ReceiptSigner } from './signer-rules.ts';
export type { ExpectedReceipt } from './subject-rules.ts';
export { claimedKeyId, type GenuineReceipt, verifyReceiptFor } from './verify-receipt.ts';
