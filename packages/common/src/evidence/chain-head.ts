import type { KeyRing, Signer } from '../crypto/index.ts';
import { CscError, orThrow } from '../errors/index.ts';
import { type ChainHead, parseChainHead } from '../receipt/index.ts';
import { signArtifact, type Unsigned, verifyArtifact } from './artifact.ts';

/** What an executor says Hello and sends heartbeats with: canonical JSON. */
export function signChainHead(
  executor: string,
  { epoch, sequence, receiptSha256 }: { epoch: string; sequence: number; receiptSha256: string },
  signer: Signer,
  now: Date,
): Buffer {
  const head: Unsigned<ChainHead> = {
    chain_head_version: 'csc.chain-head.v0.1',
    executor,
    executor_epoch: epoch,
    sequence,
    receipt_sha256: receiptSha256,
  };
  return signArtifact(head, signer, now);
}

/**
 * A chain head that this executor has signed.
 * Throws RECEIPT_INVALID where it is none or another's, SIGNATURE_INVALID or KEY_UNKNOWN.
 * @param keys of this executor alone
 */
export function openChainHead(bytes: Uint8Array, executor: string, keys: KeyRing): ChainHead {
  const head = orThrow(parseChainHead(bytes), 'RECEIPT_INVALID', 'the chain head');
  verifyArtifact(head, keys);
  if (head.executor === executor) return head;
  throw new CscError('RECEIPT_INVALID', `the chain head is of ${head.executor}`);
}
