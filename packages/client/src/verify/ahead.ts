import type { ExpectedReceipt, ReceiptTexts } from '@csc-fleet/common/evidence';
import type { KeySource } from './keys.ts';
import { type LookedAt, lookAt } from './verify-receipt.ts';

/**
 * Looks at a receipt while its gate writes it down. Nothing comes of that alone: the receipt that a run ends with counts, and where it
 * is another one, or other things are expected of it by then, it is looked at anew.
 */
export class ReceiptAhead {
  readonly #keys: Pick<KeySource, 'ringFor'>;
  #begun: { readonly texts: ReceiptTexts; readonly expected: ExpectedReceipt } | undefined;
  #looking: Promise<LookedAt | undefined> | undefined;

  constructor(keys: Pick<KeySource, 'ringFor'>) {
    this.#keys = keys;
  }

  /** Once: a gate that says more of them costs no more. */
  begin(texts: ReceiptTexts, expected: ExpectedReceipt): void {
    if (this.#begun !== undefined) return;
    this.#begun = { texts, expected: { ...expected } };
    // What is wrong with it is said of the one that counts.
    this.#looking = lookAt(texts, this.#keys, expected).catch(() => undefined);
  }

  /** What it came to; undefined where it was another one, or did not count. */
  async of(texts: ReceiptTexts, expected: ExpectedReceipt): Promise<LookedAt | undefined> {
    const begun = this.#begun;
    if (begun === undefined || !isSame(begun.texts, texts)) return undefined;
    return isAsExpected(begun.expected, expected) ? this.#looking : undefined;
  }
}

const none = new Uint8Array();

function isSame(one: ReceiptTexts, other: ReceiptTexts): boolean {
  return (
    Buffer.compare(one.receiptJson, other.receiptJson) === 0 &&
    Buffer.compare(one.originalJson ?? none, other.originalJson ?? none) === 0
  );
}

function isAsExpected(one: ExpectedReceipt, other: ExpectedReceipt): boolean {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]) as Set<keyof ExpectedReceipt>;
  return [...names].every((name) => one[name] === other[name]);
}
