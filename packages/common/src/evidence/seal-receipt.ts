import type { Signer } from '../crypto/index.ts';
import { attest } from '../dsse/index.ts';
import { sha256Hex } from '../encoding/index.ts';
import {
  type ExecutionReceipt,
  maxReceiptError,
  projectReceipt,
  type ReceiptV02,
  type ReceiptVersion,
} from '../receipt/index.ts';
import { signArtifact } from './artifact.ts';

/** A receipt as it leaves whoever signs it. */
export interface SignedReceipt {
  /** Canonical JSON, in the version that was asked for. */
  readonly receiptJson: Buffer;
}

/** An executor's: the chain has its v0.2 form, whichever was asked for. */
export interface ChainedReceipt extends SignedReceipt {
  /** Where the receipt is v0.1: the v0.2 one that it is a projection of, canonical JSON. */
  readonly originalJson?: Buffer | undefined;
  /** Lower-case hex, of the v0.2 one: what the next receipt refers to. */
  readonly receiptSha256: string;
}

/** Who signs, when, and in which form the consumer asked for it. */
export interface Sealing {
  /** A v0.2 receipt is projected to v0.1 where that is asked for; what is a v0.1 receipt already stays one. */
  readonly version: ReceiptVersion;
  readonly signer: Signer;
  readonly now: Date;
  /** Its statements are signed as well, and their signatures stand in it. Absent: nobody has asked. */
  readonly attest?: boolean | undefined;
}

/** Where a receipt has its place in the chain of its executor. */
export interface ChainLink {
  /** Of the journal that numbers it. */
  readonly epoch: string;
  /** From 1. */
  readonly sequence: number;
  /** Of the receipt before it; undefined in the first. */
  readonly previousSha256: string | undefined;
}

/** Projects and signs what stands in no chain: the receipts of gates, which say that nothing ran. */
export function sealReceipt(receipt: ExecutionReceipt, { version, signer, now }: Sealing): SignedReceipt {
  const isV02 = receipt.receipt_version === 'csc.receipt.v0.2';
  const due = isV02 && version === 'csc.receipt.v0.1' ? projectReceipt(receipt) : receipt;
  return { receiptJson: signReceipt(due, signer, now) };
}

/**
 * Chains and signs a receipt of an executor: whatever it says, and in whichever version it is wanted. A v0.1 receipt is
 * signed beside its v0.2 original: it has no members for a chain, and one that stood outside could be left out unseen.
 */
export function sealChained(
  receipt: ReceiptV02,
  { version, signer, now, attest: isAsked = false }: Sealing,
  { epoch, sequence, previousSha256 }: ChainLink,
): ChainedReceipt {
  const chained: ReceiptV02 = {
    ...receipt,
    executor_epoch: epoch,
    sequence,
    ...(previousSha256 === undefined ? {} : { previous_receipt_sha256: previousSha256 }),
    ...(signer.certificates === undefined ? {} : { receipt_certificates: [...signer.certificates] }),
  };
  const attested = isAsked ? { ...chained, ...attest(chained, signer) } : chained;
  const chainedJson = signReceipt(attested, signer, now);
  const receiptSha256 = sha256Hex(chainedJson);
  if (version === 'csc.receipt.v0.2') return { receiptJson: chainedJson, receiptSha256 };
  const receiptJson = signReceipt(projectReceipt(chained), signer, now);
  return { receiptJson, originalJson: chainedJson, receiptSha256 };
}

function signReceipt(receipt: ExecutionReceipt, signer: Signer, now: Date): Buffer {
  return signArtifact({ ...receipt, signing_key_id: signer.keyId }, signer, now);
}

/** A text as a receipt's `error` may hold it: at most 4000 code points, well-formed. */
export function toReceiptError(text: string): string {
  // Of a longer one, what is left out anyway need not become a list.
  const points = [...text.slice(0, 2 * (maxReceiptError + 1)).toWellFormed()];
  return points.length <= maxReceiptError
    ? points.join('')
    : `${points.slice(0, maxReceiptError - 1).join('')}…`;
}
