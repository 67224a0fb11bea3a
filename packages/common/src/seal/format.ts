import { createHash } from 'node:crypto';

/** The one way of sealing: HPKE (RFC 9180) in base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. */
export const sealAlgorithm = 'csc.seal.v0.1' as const;

/** What a sealed stream is of: none opens as another's. */
export interface SealedStream {
  readonly executionId: string;
  readonly commandId: string;
  /** The name of the stream: stdout, stderr. */
  readonly stream: string;
}

/** What a sealed stream begins with: 8 bytes, then the id of the key (16) and the encapsulated secret (32). */
export const magic = Buffer.from([0xff, 0x43, 0x53, 0x43, 0x53, 0x45, 0x41, 0x01]);
export const keyIdLength = 16;
export const encapsulatedLength = 32;
export const headerLength = magic.length + keyIdLength + encapsulatedLength;

// Each record: four bytes, of which the highest bit says that it is the last and the others how long what follows is.
export const lengthBytes = 4;
export const lastRecord = 0x8000_0000;
/** Bytes of plaintext in one record, at most. */
export const maxRecord = 32 * 1024;
/** What sealing adds to a record: its length and the tag of AES-GCM. */
export const tagLength = 16;

/** Bytes of an X25519 key. */
export const sealKeyLength = 32;

/** The id of a public key: the first 16 bytes of its SHA-256. */
export function sealKeyId(publicKey: Uint8Array): Buffer {
  return createHash('sha256').update(publicKey).digest().subarray(0, keyIdLength);
}

/** The text that both sides bind a stream's keys to. NUL stands in no id. */
export function infoOf({ executionId, commandId, stream }: SealedStream): Buffer {
  return Buffer.from([sealAlgorithm, executionId, commandId, stream].join('\0'));
}

// Its type is left to the compiler, which names the module so that declarations of CommonJS can read it, too (TS1541).
/** Loaded where something is sealed or opened, and nowhere else. */
export async function loadSuite() {
  const hpke = await import('hpke');
  return new hpke.CipherSuite(hpke.KEM_DHKEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_256_GCM);
}

/** The four bytes before a record. */
export function recordHead(length: number, isLast: boolean): Buffer {
  const head = Buffer.alloc(lengthBytes);
  head.writeUInt32BE((isLast ? lastRecord : 0) + length);
  return head;
}
