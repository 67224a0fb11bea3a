import { sha256Hex } from '../encoding/index.ts';

/**
 * The audience that a token must be asked for so that it speaks for whoever holds this key, here, and for nobody else.
 * @param publicKey Ed25519, 32 bytes
 */
export function tokenAudience(trustDomain: string, publicKey: Uint8Array): string {
  return `csc:${trustDomain}:${sha256Hex(publicKey)}`;
}
