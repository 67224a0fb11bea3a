import { base64Forms } from './base64-forms.ts';
import { percentForms } from './percent-forms.ts';
import { quotedForms } from './quoted-forms.ts';

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
  return [body, ...lines(body), ...encoded.map((form) => Buffer.from(form))];
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
