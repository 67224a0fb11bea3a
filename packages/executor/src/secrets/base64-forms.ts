const standard = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Fewer characters than this could be a coincidence. */
const minChars = 8;
/** What an edge is found by: as much of its neighbourhood as makes a coincidence impossible. */
const anchorChars = 64;
/** RFC 2045 and base64(1); RFC 7468 and openssl(1). */
const lineLengths = [76, 64];

/** What may be left of a value in base64 (RFC 4648 §4 and §5), whatever stands before and after it in what was encoded. */
export function base64Forms(value: Buffer): readonly string[] {
  const forms = [
    ...[0, 1, 2].flatMap((offset) => formsAt(offset, value)),
    ...formsAlone(value),
    // As `echo` gives it to the encoder.
    ...formsAlone(Buffer.concat([value, Buffer.from('\n')])),
  ].filter((form) => form.length >= minChars);
  return [...new Set([...forms, ...forms.map(toUrlSafe)])];
}

/**
 * The characters that depend on the value alone where it begins `offset` bytes (modulo 3) into the encoded bytes; and
 * these once more with each of the characters next to them that hold bits of the value beside bits of its neighbours.
 */
function formsAt(offset: number, value: Buffer): string[] {
  const end = offset + value.length;
  const encoded = Buffer.concat([Buffer.alloc(offset), value]).toString('base64');
  const core = encoded.slice(Math.ceil((offset * 8) / 6), Math.floor((end * 8) / 6));
  return [
    core,
    ...firstChars(offset, value.at(0) ?? 0).map((char) => char + core.slice(0, anchorChars)),
    ...lastChars(end % 3, value.at(-1) ?? 0).map((char) => core.slice(-anchorChars) + char),
  ];
}

// Six bits: the last 2 or 4 of the byte before, any of them, then the first of the value.
function firstChars(offset: number, first: number): string[] {
  if (offset === 0) return [];
  const [foreignBits, ownBits] = offset === 1 ? [2, first >> 4] : [4, first >> 6];
  return range(2 ** foreignBits).map((foreign) => standard.charAt((foreign << (6 - foreignBits)) | ownBits));
}

// Six bits: the last 2 or 4 of the value, then the first of the byte after it, any of them.
function lastChars(remainder: number, last: number): string[] {
  if (remainder === 0) return [];
  const [foreignBits, ownBits] = remainder === 1 ? [4, last & 0b11] : [2, last & 0b1111];
  return range(2 ** foreignBits).map((foreign) => standard.charAt((ownBits << foreignBits) | foreign));
}

/** As an encoder writes it that is given nothing else: with its padding, and in lines where it is long. */
function formsAlone(value: Buffer): string[] {
  const encoded = value.toString('base64');
  return [encoded, ...lineLengths.flatMap((length) => toLines(encoded, length))];
}

function toLines(encoded: string, length: number): string[] {
  if (encoded.length <= length) return [];
  const lines = range(Math.ceil(encoded.length / length)).map((line) =>
    encoded.slice(line * length, (line + 1) * length),
  );
  // A last line that is too short to be known by itself is known by the one before it.
  return [...lines, lines.slice(-2).join('\n')];
}

function toUrlSafe(text: string): string {
  return text.replaceAll('+', '-').replaceAll('/', '_');
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}
