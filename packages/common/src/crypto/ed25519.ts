/**
 * Ed25519 as strict RFC 8032 has it: pure, without context, cofactorless. `verify` is true only for S < L and for A and
 * R that are canonical and not of small order, so that all implementations agree on every input
 * (Chalkias, Garillot, Nikolaenko: "Taming the many EdDSAs", 2020).
 */
export interface Ed25519 {
  /** For people. */
  readonly name: string;
  /** The 32 bytes of the public key of a 32-byte seed. */
  publicKey(seed: Uint8Array): Uint8Array;
  /** A signature of 64 bytes. */
  sign(message: Uint8Array, seed: Uint8Array): Uint8Array;
  /** `sign` for one seed, prepared once for many messages. */
  prepare(seed: Uint8Array): (message: Uint8Array) => Uint8Array;
  /** False for anything that is not a good signature, inputs of a wrong length included; never throws. */
  verify(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean;
}

/** Bytes of a seed and of a public key. */
export const keyLength = 32;

/** Bytes of a signature: R, then S. */
export const signatureLength = 64;
