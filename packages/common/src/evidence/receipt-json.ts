import { artifactBytes, isJsonObject, type JsonObject, parseStrictJson } from '../encoding/index.ts';
import { CscError, orThrow } from '../errors/index.ts';

/** The members of a receipt, none of them looked at. Throws RECEIPT_INVALID. */
export function readReceiptJson(receiptJson: Uint8Array): JsonObject {
  const parsed = parseStrictJson(receiptJson, { maxBytes: artifactBytes.receipt });
  const json = orThrow(parsed, 'RECEIPT_INVALID', 'the receipt');
  if (isJsonObject(json)) return json;
  throw new CscError('RECEIPT_INVALID', 'the receipt is not a JSON object');
}
