import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** The fields of RunResponse, of which ReadOutputResponse has the first two. */
export const itemField = { chunk: 1, end: 2, event: 3 } as const;

/** A RunResponse or ReadOutputResponse that holds just this encoded message. */
export function encodeItem(field: number, message: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .uint32((field << 3) | 2)
    .bytes(message)
    .finish();
}
