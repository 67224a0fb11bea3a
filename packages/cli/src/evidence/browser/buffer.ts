/**
 * As much of Node's Buffer as the verifying code of common uses, for where there is none. Its decoders forgive no less than
 * Node's: callers write what they read again and compare.
 */
class Bytes extends Uint8Array {
  override toString(encoding = 'utf8'): string {
    if (encoding === 'hex') return Array.from(this, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (encoding === 'base64') return toBase64(this);
    if (encoding === 'base64url')
      return toBase64(this).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
    if (encoding === 'latin1') return latin1(this);
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this);
  }

  writeUInt32BE(value: number): void {
    this.#view().setUint32(0, value);
  }

  readUInt16BE(at: number): number {
    return this.#view().getUint16(at);
  }

  readUInt32BE(at: number): number {
    return this.#view().getUint32(at);
  }

  readBigUInt64BE(at: number): bigint {
    return this.#view().getBigUint64(at);
  }

  #view(): DataView {
    return new DataView(this.buffer, this.byteOffset, this.byteLength);
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, index) => byte === other[index]);
  }
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function toBase64(bytes: Uint8Array): string {
  return btoa(latin1(bytes));
}

function fromBase64(text: string): Uint8Array {
  const plain = text
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/[^A-Za-z0-9+/]/g, '');
  const whole = plain.length % 4 === 1 ? plain.slice(0, -1) : plain;
  const chars = atob(whole);
  const bytes = new Uint8Array(chars.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = chars.charCodeAt(at);
  return bytes;
}

function fromHex(text: string): number[] {
  const [pairs = ''] = /^(?:[0-9a-fA-F]{2})*/.exec(text) ?? [];
  return Array.from({ length: pairs.length / 2 }, (_, at) =>
    Number.parseInt(pairs.slice(2 * at, 2 * at + 2), 16),
  );
}

function fromText(text: string, encoding: string): ArrayLike<number> {
  if (encoding === 'base64' || encoding === 'base64url') return fromBase64(text);
  if (encoding === 'hex') return fromHex(text);
  if (encoding === 'latin1') return Array.from(text, (char) => char.charCodeAt(0) & 0xff);
  return new TextEncoder().encode(text);
}

/** In the place of the global. */
export const Buffer = {
  from(
    source: string | ArrayBufferLike | ArrayLike<number>,
    encodingOrOffset?: string | number,
    length?: number,
  ) {
    if (typeof source === 'string') return new Bytes(fromText(source, String(encodingOrOffset ?? 'utf8')));
    if (source instanceof ArrayBuffer) return new Bytes(source, Number(encodingOrOffset ?? 0), length);
    return new Bytes(source as ArrayLike<number>);
  },
  alloc: (length: number) => new Bytes(length),
  concat(parts: readonly Uint8Array[]) {
    const whole = new Bytes(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  },
  byteLength: (text: string) => new TextEncoder().encode(text).length,
  compare: (one: Uint8Array, other: Uint8Array) => (new Bytes(one).equals(other) ? 0 : 1),
};
