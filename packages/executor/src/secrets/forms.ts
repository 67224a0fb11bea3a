import { isUtf8 } from 'node:buffer';

const newline = 0x0a;
const carriageReturn = 0x0d;

/** In bytes: a shorter line of a value may well be part of other texts. */
const minLineBytes = 8;

/** In bytes: nobody puts a longer value into a URL, and there are many ways to. */
const maxPercentBytes = 8192;

/** The first and last lines of PEM (RFC 7468 §2), which are no secret, and in the output of many a tool. */
const pemBoundary = /^-----(?:BEGIN|END) [A-Z0-9 ]+-----$/;

/** What a value may look like in output. Newlines at its end are not looked for: they need not be there, nor be hidden. */
export function secretForms(value: Buffer): readonly Buffer[] {
  const body = withoutNewlines(value);
  const hex = body.toString('hex');
  const percent = body.length > maxPercentBytes ? [] : percentForms(body);
  const encoded = [...base64Forms(body), ...percent, ...quotedForms(body), hex, hex.toUpperCase()];
  return [body, ...onTerminal(body), ...lines(body), ...encoded.map((form) => Buffer.from(form))];
}

/** As a terminal shows a value of several lines: it makes CR LF of each LF (termios(3), ONLCR). */
function onTerminal(body: Buffer): Buffer[] {
  if (!body.includes(newline)) return [];
  return [Buffer.from(body.toString('latin1').replaceAll(/\r?\n/g, '\r\n'), 'latin1')];
}

/** A value without newlines at its end, of either kind. */
export function withoutNewlines(value: Buffer): Buffer {
  let { length } = value;
  while (length > 0 && isNewline(value[length - 1])) length -= 1;
  return value.subarray(0, length);
}

function isNewline(byte: number | undefined): boolean {
  return byte === newline || byte === carriageReturn;
}

/** The lines of a value that has several, without what indents them or follows them: each may be shown by itself. */
function lines(body: Buffer): Buffer[] {
  if (!body.includes(newline)) return [];
  // One character a byte, there and back.
  const texts = body.toString('latin1').split('\n').map(trim);
  return texts
    .filter((text) => text.length >= minLineBytes && !pemBoundary.test(text))
    .map((text) => Buffer.from(text, 'latin1'));
}

// Not trim(), which takes the latin1 character 0xA0 for a space: here it is a byte of something else.
function trim(line: string): string {
  return line.replaceAll(/^[ \t]+|[ \t\r]+$/g, '');
}

const standard = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Fewer characters than this could be a coincidence. */
const minChars = 8;
/** What an edge is found by: as much of its neighbourhood as makes a coincidence impossible. */
const anchorChars = 64;
/** RFC 2045 and base64(1); RFC 7468 and openssl(1). */
const lineLengths = [76, 64];

/** What may be left of a value in base64 (RFC 4648 §4 and §5), whatever stands before and after it in what was encoded. */
function base64Forms(value: Buffer): readonly string[] {
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

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const unreserved = `${letters}0123456789-_.`;

/** Who leaves which characters as they are. */
const encoders: readonly { readonly left: string; readonly plus?: true }[] = [
  // RFC 3986's unreserved characters: curl, Python's quote(safe=''), Go's and Python's query encoders (with +).
  { left: `${unreserved}~` },
  { left: `${unreserved}~`, plus: true },
  // JavaScript's encodeURIComponent and encodeURI, ECMA-262 §19.2.6.
  { left: `${unreserved}!~*'()` },
  { left: `${unreserved}!~*'();,/?:@&=+$#` },
  // Python's quote.
  { left: `${unreserved}~/` },
  // application/x-www-form-urlencoded of the URL Standard §5.2.
  { left: `${unreserved}*`, plus: true },
  // Nobody is named here: whoever means to be thorough.
  { left: '' },
];

/** A value in percent-encoding, as each of the usual encoders writes it, in capital and in small hexadecimal. */
function percentForms(value: Buffer): readonly string[] {
  const forms = encoders.flatMap(({ left, plus }) => {
    const capital = toTable(left, plus === true);
    return [capital, capital.map((text) => (text.startsWith('%') ? text.toLowerCase() : text))];
  });
  return [...new Set(forms.map((table) => encodePercent(value, table)))];
}

/** What each byte becomes. */
function toTable(left: string, plus: boolean): string[] {
  return Array.from({ length: 256 }, (_, byte) => {
    const char = String.fromCharCode(byte);
    if (plus && char === ' ') return '+';
    return left.includes(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

function encodePercent(value: Buffer, table: readonly string[]): string {
  let text = '';
  for (const byte of value) text += table[byte] ?? '';
  return text;
}

/**
 * A text as it stands between quotes in JSON (and most source code), and in a shell's words. Bytes that are no UTF-8 can
 * be in neither.
 */
function quotedForms(value: Buffer): readonly string[] {
  if (!isUtf8(value)) return [];
  const text = value.toString();
  return [...new Set([...jsonForms(text), ...shellForms(text)])];
}

// RFC 8259 §7 lets writers choose: Python and PHP write ASCII only, PHP escapes the slash, Go what HTML would take.
function jsonForms(text: string): string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const ascii = escapeAll(json, /[\u007f-\uffff]/g);
  return [json, ascii, ascii.replaceAll('/', '\\/'), escapeAll(json, /[<>&\u2028\u2029]/g)];
}

function escapeAll(json: string, pattern: RegExp): string {
  return json.replaceAll(pattern, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

// As `set -x`, `printf %q` and shlex.quote write what is printable.
function shellForms(text: string): string[] {
  if (!/^[ -~]*$/.test(text)) return [];
  return [
    text.replaceAll("'", "'\\''"),
    text.replaceAll("'", `'"'"'`),
    text.replaceAll(/^[#~]|[ !"$&'()*,;<>?[\\\]^`{|}]/g, '\\$&'),
  ];
}
