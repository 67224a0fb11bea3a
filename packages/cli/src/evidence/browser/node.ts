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

// RFC 8410: what is before the 32 bytes of a key in its SPKI.
const ed25519Spki = '302a300506032b6570032100';

/** As much of crypto.createPublicKey as reads an Ed25519 key's PEM. Throws where it is none. */
export function createPublicKey({ key }: { readonly key: string }) {
  const [, text = ''] =
    /-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----/.exec(key) ?? [];
  const der = Buffer.from(text, 'base64');
  if (der.length !== 44 || !der.toString('hex').startsWith(ed25519Spki)) throw new Error('no Ed25519 key');
  const x = Buffer.from(der.subarray(12)).toString('base64url');
  return { asymmetricKeyType: 'ed25519', export: () => ({ x }) };
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
