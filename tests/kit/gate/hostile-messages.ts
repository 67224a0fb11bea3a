import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { loadSync } from '@grpc/proto-loader';

/** What proto-loader gives of a message. */
interface MessageType {
  readonly name: string;
  readonly field: readonly FieldType[];
  readonly nestedType: readonly MessageType[];
}

interface FieldType {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly typeName: string;
  readonly label: string;
}

/** One message in which one field is as nobody who means well would send it. */
export interface Hostile {
  readonly what: string;
  readonly bytes: Buffer;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '../../../proto');
const packages = loadSync(['csc/gate/v1/gate.proto', 'csc/link/v1/link.proto'], { includeDirs: [root] });

/**
 * For every field of a message, and of those in it: too long, too many, negative, huge, not UTF-8, not decodable.
 * @param depth how many messages within each other are looked into
 */
export function hostileMessages(type: string, depth: number): Hostile[] {
  return ofMessage(find(type, []), depth);
}

function find(name: string, nested: readonly MessageType[]): MessageType {
  const inner = nested.find((it) => it.name === name);
  const key = Object.keys(packages).find((it) => it === name || it.endsWith(`.${name}`));
  const outer = key === undefined ? undefined : packages[key];
  const found = inner ?? (outer !== undefined && 'type' in outer ? outer.type : undefined);
  if (!isMessage(found)) throw new Error(`there is no message ${name}`);
  return found;
}

function isMessage(type: unknown): type is MessageType {
  return typeof type === 'object' && type !== null && 'field' in type && 'nestedType' in type;
}

function ofMessage(message: MessageType, levels: number): Hostile[] {
  return message.field.flatMap((field) =>
    valuesOf(field, message, levels).map(({ what, bytes }) => ({ what: `${field.name}: ${what}`, bytes })),
  );
}

function valuesOf(field: FieldType, message: MessageType, levels: number): Hostile[] {
  const repeated = [
    { what: 'too many', bytes: many(field, 2_000) },
    { what: 'far too many', bytes: many(field, 11_000) },
  ];
  const lists = field.label === 'LABEL_REPEATED' ? repeated : [];
  const one = (what: string, bytes: Uint8Array): Hostile => ({ what, bytes: delimited(field.number, bytes) });
  const junk = one('not decodable', Buffer.from([0xff, 0xff, 0xff]));
  if (field.type === 'TYPE_MESSAGE') {
    const inside = levels === 0 ? [] : ofMessage(find(field.typeName, message.nestedType), levels - 1);
    return [junk, ...lists, ...inside.map(({ what, bytes }) => one(what, bytes))];
  }
  if (field.type === 'TYPE_BYTES') return [junk, ...lists];
  if (field.type === 'TYPE_STRING') {
    const long = one('too long', Buffer.alloc(70_000, 'x'));
    return [
      long,
      one('not UTF-8', Buffer.from([0xff, 0xfe, 0xc0])),
      one('control characters', Buffer.from('\0\x1b[2J')),
      ...lists,
    ];
  }
  const numbers = { negative: '-1', least: '-9223372036854775808', most: '9223372036854775807' };
  return Object.entries(numbers).map(([what, value]) => ({
    what,
    bytes: Buffer.from(
      new BinaryWriter()
        .uint32(field.number << 3)
        .int64(value)
        .finish(),
    ),
  }));
}

function delimited(number: number, bytes: Uint8Array): Buffer {
  return Buffer.from(
    new BinaryWriter()
      .uint32((number << 3) | 2)
      .bytes(bytes)
      .finish(),
  );
}

function many({ number, type }: FieldType, count: number): Buffer {
  const each = type === 'TYPE_ENUM' ? Buffer.from([number << 3, 1]) : delimited(number, Buffer.alloc(0));
  return Buffer.concat(Array.from({ length: count }, () => each));
}
