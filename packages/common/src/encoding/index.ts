export { toBuffer } from './bytes.ts';
export {
  type CanonicalOptions,
  canonicalAsWritten,
  canonicalBytes,
  canonicalJson,
} from './canonical-json.ts';
export { sha256Hex, sha256Tagged } from './hash.ts';
export {
  artifactBytes,
  type Encodable,
  type EncodableObject,
  isJsonObject,
  type JsonObject,
  type JsonValue,
} from './json-value.ts';
export { decodeStrictUtf8, parseStrictJson, readStrictJson, type StrictOptions } from './strict-json.ts';
export { compareCodePoints } from './text.ts';
export { type Clock, earliest, parseTimestamp, systemClock, toTimestamp } from './time.ts';
