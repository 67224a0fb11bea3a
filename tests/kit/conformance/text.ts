import type { JsonObject } from '@csc-fleet/common/encoding';
import type { Case } from './fixture.ts';

/** A case whose document only bytes can say. */
export interface TextCase extends Case {
  readonly replace?: readonly [string, string];
  /** From, to, then a text and how often it follows `to`. */
  readonly replace_repeat?: readonly [string, string, string, number];
  readonly replace_hex?: readonly [string, string];
  readonly replace_all?: string;
  readonly before_hex?: string;
  readonly after?: string;
  readonly pad_to?: number;
}

/** The bytes of a case: the base as JSON, then what the case does to the text. */
export function toBytes(base: JsonObject, it: TextCase): Buffer {
  const parts = [Buffer.from(it.before_hex ?? '', 'hex'), body(base, it), Buffer.from(it.after ?? '')];
  const bytes = Buffer.concat(parts);
  return it.pad_to === undefined
    ? bytes
    : Buffer.concat([bytes, Buffer.alloc(it.pad_to - bytes.length, ' ')]);
}

function body(base: JsonObject, it: TextCase): Buffer {
  const text = it.replace_all ?? JSON.stringify(base);
  if (it.replace !== undefined) return Buffer.from(replaced(text, it.replace[0], it.replace[1]));
  if (it.replace_repeat !== undefined) {
    const [from, to, more, times] = it.replace_repeat;
    return Buffer.from(replaced(text, from, to + more.repeat(times)));
  }
  if (it.replace_hex !== undefined) {
    const [from, hex] = it.replace_hex;
    const at = text.indexOf(from);
    return Buffer.concat([
      Buffer.from(text.slice(0, at)),
      Buffer.from(hex, 'hex'),
      Buffer.from(text.slice(at + from.length)),
    ]);
  }
  return Buffer.from(text);
}

function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`the fixture does not hold ${from}`);
  return text.replace(from, () => to);
}
