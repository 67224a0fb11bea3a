import { type Signer, signArtifact } from '@csc-fleet/common/crypto';
import { canonicalBytes, type JsonObject, sha256Hex } from '@csc-fleet/common/encoding';
import { projectReceipt, type ReceiptV02, type ReceiptVersion } from '@csc-fleet/common/receipt';

/** A receipt as it leaves the host. */
export interface SignedReceipt {
  /** Canonical JSON. */
  readonly receiptJson: Uint8Array;
  /** Lower-case hex: what the next receipt refers to. */
  readonly receiptSha256: string;
}

/** Who signs, when, and in which form the consumer asked for it. */
export interface Sealing {
  readonly version: ReceiptVersion;
  readonly signer: Signer;
  readonly now: Date;
  /** Of this executor's receipt before this one. Absent in its first, and in refusals, which are not in the chain. */
  readonly previousSha256?: string | undefined;
}

/** Chains, projects and signs. */
export function sealReceipt(
  receipt: ReceiptV02,
  { version, signer, now, previousSha256 }: Sealing,
): SignedReceipt {
  const chained: ReceiptV02 = {
    ...receipt,
    signing_key_id: signer.keyId,
    ...(previousSha256 === undefined ? {} : { previous_receipt_sha256: previousSha256 }),
  };
  const signed = signArtifact(
    version === 'csc.receipt.v0.1' ? projectReceipt(chained) : chained,
    signer,
    now,
  );
  // What was signed is JSON, whatever its type says of optional members.
  const receiptJson = canonicalBytes(signed as unknown as JsonObject);
  return { receiptJson, receiptSha256: sha256Hex(receiptJson) };
}
