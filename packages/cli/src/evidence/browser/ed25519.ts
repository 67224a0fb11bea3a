// In the place of common's Ed25519 by node:crypto: the same rules, in plain JavaScript.
import { Buffer } from './buffer.ts';

export { nobleEd25519 as nodeEd25519 } from '@csc-fleet/common/noble';

/** The 32 bytes of what createPublicKey of node.ts has read. */
export function rawPublicKey(key: { export(): { readonly x: string } }): Uint8Array {
  return new Uint8Array(Buffer.from(key.export().x, 'base64url'));
}
