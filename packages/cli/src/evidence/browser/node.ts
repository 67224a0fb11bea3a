// What the verifying code of common imports of Node, for where there is none.
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { Buffer } from './buffer.ts';

const hashes = { sha256, sha512 } as const;

function hasherOf(name: string): (typeof hashes)[keyof typeof hashes] {
  return name === 'sha512' ? hashes.sha512 : hashes.sha256;
}

const toBytes = (data: string | Uint8Array): Uint8Array =>
  typeof data === 'string' ? new TextEncoder().encode(data) : data;

/** crypto.hash. */
export function hash(name: string, data: string | Uint8Array, encoding: string): string | Uint8Array {
  const digest = Buffer.from(hasherOf(name)(toBytes(data)));
  return encoding === 'buffer' ? digest : digest.toString(encoding);
}

/** buffer.isUtf8. */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
