import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { toBuffer } from '../encoding/index.ts';

/** What ts-proto generates for a message, as far as writing it goes. */
interface Encodable<Message> {
  encode(message: Message, writer?: BinaryWriter): BinaryWriter;
}

// What is longer is seldom, and its memory is not kept for the next.
const mostKept = 64 * 1024;

/**
 * Encodes messages of one kind as the generated code does, one after the other into the same memory, which is copied
 * out: a writer of its own for each begins with 128 bytes and doubles them until all is in. For what is said thousands
 * of times a second.
 */
export function encoderOf<Message>(type: Encodable<Message>): (message: Message) => Buffer {
  let writer: BinaryWriter | undefined;
  return (message) => {
    const own = writer ?? new BinaryWriter();
    // Where it throws, half a message is left in it.
    writer = undefined;
    const bytes = type.encode(message, own).finish();
    if (bytes.length <= mostKept) writer = own;
    return toBuffer(bytes);
  };
}
