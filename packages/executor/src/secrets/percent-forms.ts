const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const plain = `${letters}0123456789-_.`;

/** Who leaves which characters as they are. */
const encoders: readonly { readonly left: string; readonly plus?: true }[] = [
  // RFC 3986's unreserved characters: curl, Python's quote(safe=''), Go's and Python's query encoders (with +).
  { left: `${plain}~` },
  { left: `${plain}~`, plus: true },
  // JavaScript's encodeURIComponent and encodeURI, ECMA-262 §19.2.6.
  { left: `${plain}!~*'()` },
  { left: `${plain}!~*'();,/?:@&=+$#` },
  // Python's quote.
  { left: `${plain}~/` },
  // application/x-www-form-urlencoded of the URL Standard §5.2.
  { left: `${plain}*`, plus: true },
  // Nobody is named here: whoever means to be thorough.
  { left: '' },
];

/** A value in percent-encoding, as each of the usual encoders writes it, in capital and in small hexadecimal. */
export function percentForms(value: Buffer): readonly string[] {
  const forms = encoders.flatMap(({ left, plus }) => {
    const capital = toTable(left, plus === true);
    return [capital, capital.map((text) => (text.startsWith('%') ? text.toLowerCase() : text))];
  });
  return [...new Set(forms.map((table) => encode(value, table)))];
}

/** What each byte becomes. */
function toTable(left: string, plus: boolean): string[] {
  return Array.from({ length: 256 }, (_, byte) => {
    const char = String.fromCharCode(byte);
    if (plus && char === ' ') return '+';
    return left.includes(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

function encode(value: Buffer, table: readonly string[]): string {
  let text = '';
  for (const byte of value) text += table[byte] ?? '';
  return text;
}
