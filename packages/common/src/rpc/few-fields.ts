import { BinaryReader } from '@bufbuild/protobuf/wire';
import { CscError } from '../errors/index.ts';

/** What a method of a generated service reads messages by. */
interface Decoders {
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

/** How many tags, lengths and whole numbers a message may be made of; by its length in bytes, where that is to count. */
export type MostFields = number | ((bytes: number) => number);

interface Bounds {
  readonly requests: MostFields;
  readonly responses: MostFields;
}

/** For messages of a service, those of some methods apart. */
export interface FieldBounds<Service> extends Bounds {
  readonly of?: { readonly [Name in keyof Service]?: Partial<Bounds> };
}

/**
 * A service that unpacks no message of more fields than are due. Two bytes of a message can be an object that takes a
 * microsecond and three hundred bytes: four mebibytes of them stop a process for two seconds, and nothing that its
 * caller may send needs a hundredth of that. Its decoders throw MESSAGE_TOO_LARGE.
 */
export function withFewFields<Service extends object>(
  service: Service,
  { of = {}, ...usual }: FieldBounds<Service>,
): Service {
  const methods = Object.entries(service as Readonly<Record<string, Decoders>>);
  const bounded = methods.map(([name, method]) => {
    const { requests, responses } = { ...usual, ...of[name as keyof Service] };
    const requestDeserialize = boundedBy(requests, method.requestDeserialize);
    const responseDeserialize = boundedBy(responses, method.responseDeserialize);
    return [name, { ...method, requestDeserialize, responseDeserialize }] as const;
  });
  return Object.fromEntries(bounded) as Service;
}

function boundedBy<Message>(most: MostFields, decode: (bytes: Buffer) => Message) {
  return (bytes: Buffer): Message => {
    const count = typeof most === 'number' ? most : most(bytes.length);
    // Each takes a byte at least.
    if (bytes.length <= count) return decode(bytes);
    // Generated decoders take a reader in the place of bytes.
    return decode(new CountingReader(bytes, count) as unknown as Buffer);
  };
}

class CountingReader extends BinaryReader {
  constructor(bytes: Uint8Array, most: number) {
    super(bytes);
    const read = this.uint32;
    let left = most;
    this.uint32 = () => {
      left -= 1;
      if (left < 0)
        throw new CscError(
          'MESSAGE_TOO_LARGE',
          `a message has more fields than are taken of its kind (${most} tags and lengths): say less at a time`,
        );
      return read.call(this);
    };
  }
}
