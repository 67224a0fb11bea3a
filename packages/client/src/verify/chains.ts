import { sha256Hex } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { findFault } from '@csc-fleet/common/evidence';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { inTurn, type SharedMemory } from './in-turn.ts';

/** A receipt that was met, by its place in its executor's chain. */
export interface SeenReceipt {
  readonly epoch: string;
  readonly sequence: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Of the one before it; absent in the first. */
  readonly previousSha256?: string;
  /** RFC 3339. */
  readonly signedAt: string;
}

/**
 * What was met of each executor's chain, so that a gate cannot show one receipt today and another tomorrow in its place.
 * Keep it between processes, or each begins anew.
 */
export interface SeenChains extends SharedMemory {
  /** The receipts of this executor, a SPIFFE id, that are remembered; none where it was never met. */
  receiptsOf(owner: string): Promise<readonly SeenReceipt[]>;
  /** Replaces them. */
  keep(owner: string, receipts: readonly SeenReceipt[]): Promise<void>;
}

/** Forgets everything with the process. */
export function createSeenChains(): SeenChains {
  const chains = new Map<string, readonly SeenReceipt[]>();
  return {
    receiptsOf: async (owner) => chains.get(owner) ?? [],
    keep: async (owner, receipts) => {
      chains.set(owner, receipts);
    },
  };
}

// Of one executor: enough for runs that are under way at once.
const mostSeen = 64;
// Receipts that were signed within so much of one another may arrive in any order, and the clock of a host is set back.
const toleranceMs = 5 * 60_000;

/**
 * Holds a genuine receipt against those of its executor that were met before, and remembers it. That others are missing
 * between them is no fault: they are of other clients. Throws RECEIPT_INVALID for a fork, for one that names another
 * before it, for a number that has gone back, and for one without a place in the chain of an executor that has one.
 * @param chained undefined: a v0.1 receipt that came without its original
 */
export function checkSeen(
  seen: SeenChains,
  owner: string,
  chained: ReceiptV02 | undefined,
  chainedJson: Uint8Array,
): Promise<void> {
  return inTurn(seen, () => checkAlone(seen, owner, chained, chainedJson));
}

async function checkAlone(
  seen: SeenChains,
  owner: string,
  chained: ReceiptV02 | undefined,
  chainedJson: Uint8Array,
): Promise<void> {
  const known = await seen.receiptsOf(owner);
  const place = chained === undefined ? undefined : toPlace(chained, sha256Hex(chainedJson));
  if (place === undefined) {
    if (known.length === 0) return;
    throw invalid(
      `it stands in no chain, and ${owner} has one: somebody left out its place, or its original`,
    );
  }
  const chain = known.filter(({ epoch }) => epoch === place.epoch);
  for (const other of chain) checkPair(owner, other, place);
  if (chain.some(({ sequence }) => sequence === place.sequence)) return;
  checkOrder(owner, chain, place);
  await seen.keep(owner, [...known, place].slice(-mostSeen));
}

function toPlace(receipt: ReceiptV02, sha256: string): SeenReceipt | undefined {
  const { executor_epoch: epoch, sequence, previous_receipt_sha256: previousSha256, signature } = receipt;
  if (epoch === undefined || sequence === undefined || signature === undefined) return undefined;
  const { signed_at: signedAt } = signature;
  return { epoch, sequence, sha256, signedAt, ...(previousSha256 === undefined ? {} : { previousSha256 }) };
}

function checkPair(owner: string, one: SeenReceipt, other: SeenReceipt): void {
  const [before, after] = one.sequence <= other.sequence ? [one, other] : [other, one];
  const fault = findPlaceFault(before, after);
  if (fault === undefined || fault.kind === 'gap') return;
  throw invalid(
    `the chain of ${owner} has a fork: ${fault.message}. Somebody hides a receipt, or shows one that does not count`,
  );
}

function findPlaceFault(before: SeenReceipt, after: SeenReceipt) {
  const toEntry = (it: SeenReceipt) => ({
    name: `its receipt ${it.sequence} (${it.sha256.slice(0, 16)}…)`,
    sequence: it.sequence,
    sha256: it.sha256,
    previousSha256: it.previousSha256,
  });
  return findFault(toEntry(before), toEntry(after));
}

function checkOrder(owner: string, chain: readonly SeenReceipt[], place: SeenReceipt): void {
  const signedAt = Date.parse(place.signedAt);
  const later = chain.find(
    (it) => it.sequence > place.sequence && Date.parse(it.signedAt) + toleranceMs < signedAt,
  );
  if (later === undefined) return;
  const message = `the chain of ${owner} has gone back: the receipt ${place.sequence} was signed after the receipt ${later.sequence}`;
  throw invalid(`${message}. Its host was set back to an earlier state, or has a fork`);
}

function invalid(message: string): CscError {
  return new CscError('RECEIPT_INVALID', message);
}
