import { isJsonObject, parseStrictJson } from '@csc-fleet/common/encoding';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';

/**
 * A signed receipt once more, in another column, which its draft needs no more: where the disk loses the one, it is brought
 * from the other, as a second one that is signed would be a second outcome.
 */
export function toSpare({ receiptJson, originalJson }: ReceiptTexts): string {
  const toText = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  return JSON.stringify({
    receipt: toText(receiptJson),
    ...(originalJson === undefined ? {} : { original: toText(originalJson) }),
  });
}

/** What `toSpare` has made; undefined for anything else. Whether it is what was signed, its signature tells. */
export function readSpare(text: string): ReceiptTexts | undefined {
  const json = parseStrictJson(Buffer.from(text), { maxBytes: text.length * 3 });
  if (!json.ok || !isJsonObject(json.value)) return undefined;
  const { receipt, original } = json.value;
  if (typeof receipt !== 'string') return undefined;
  const receiptJson = Buffer.from(receipt);
  return typeof original === 'string'
    ? { receiptJson, originalJson: Buffer.from(original) }
    : { receiptJson };
}
