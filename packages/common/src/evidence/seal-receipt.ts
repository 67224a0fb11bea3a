import type { Signer } from '../crypto/index.ts';
import { sha256Hex } from '../encoding/index.ts';
import {
  type ExecutionReceipt,
  maxReceiptError,
  projectReceipt,
  type ReceiptVersion,
} from '../receipt/index.ts';
import { signArtifact } from './artifact.ts';

/** A receipt as it leaves whoever signs it. */
export interface SignedReceipt {
  /** Canonical JSON. */
  readonly receiptJson: Buffer;
  /** Lower-case hex: what the next receipt refers to. */
  readonly receiptSha256: string;
}

/** Who signs, when, and in which form the consumer asked for it. */
export interface Sealing {
  /** A v0.2 receipt is projected to v0.1 where that is asked for; what is a v0.1 receipt already stays one. */
  readonly version: ReceiptVersion;
  readonly signer: Signer;
  readonly now: Date;
  /** Of this executor's receipt before this one. Absent in its first, and in refusals, which are not in the chain. */
  readonly previousSha256?: string | undefined;
}

/** Chains, projects and signs: the one way in which executors, gates and `csc run` sign receipts. */
export function sealReceipt(
  receipt: ExecutionReceipt,
  { version, signer, now, previousSha256 }: Sealing,
): SignedReceipt {
  const signed = { ...receipt, signing_key_id: signer.keyId };
  const receiptJson = signArtifact(toVersion(signed, version, previousSha256), signer, now);
  return { receiptJson, receiptSha256: sha256Hex(receiptJson) };
}

function toVersion(
  receipt: ExecutionReceipt,
  version: ReceiptVersion,
  previousSha256: string | undefined,
): ExecutionReceipt {
  if (receipt.receipt_version === 'csc.receipt.v0.1') return receipt;
  if (version === 'csc.receipt.v0.1') return projectReceipt(receipt);
  return previousSha256 === undefined ? receipt : { ...receipt, previous_receipt_sha256: previousSha256 };
}

/** A text as a receipt's `error` may hold it: at most 4000 code points, well-formed. */
export function toReceiptError(text: string): string {
  const points = [...text.toWellFormed()];
  return points.length <= maxReceiptError
    ? points.join('')
    : `${points.slice(0, maxReceiptError - 1).join('')}…`;
}
