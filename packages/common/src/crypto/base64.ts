import { toBuffer } from '../encoding/index.ts';

/**
 * The bytes of standard base64 with padding, or undefined where the text is not the one encoding of them: other
 * characters, missing padding, bits behind the end. Node's decoder forgives all of that.
 */
export function parseBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined;
}

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return toBuffer(bytes).toString('base64');
}
