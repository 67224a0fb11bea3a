export { type CanonicalOptions, canonicalBytes, canonicalJson } from './canonical-json.ts';
export { type Clock, systemClock } from './clock.ts';
export { compareCodePoints } from './code-points.ts';
export { sha256Hex, sha256Tagged } from './hash.ts';
export { isJsonObject, type JsonObject, type JsonValue } from './json-value.ts';
export { type DirectoryOptions, makeDirectory } from './make-directory.ts';
export { explainFileError, type FileContent, readBoundedFile } from './read-file.ts';
export { decodeStrictUtf8, parseStrictJson, type StrictOptions } from './strict-json.ts';
export { parseTimestamp, toTimestamp } from './timestamp.ts';
