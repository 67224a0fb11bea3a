/** The same memory as a Buffer: nothing is copied, so what changes in one changes in the other. */
export function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
