/** Orders texts by Unicode code point, as Python does; JavaScript's own order is by UTF-16 unit. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

// Surrogates stand for code points beyond U+FFFF, so they come after U+E000 to U+FFFF.
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Where an offset of a text is, for people: lines and characters from 1, as `line 3, column 14`. */
export function textPlace(text: string, offset: number): string {
  let line = 1;
  let column = 1;
  for (let at = 0; at < offset; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x0a) {
      line += 1;
      column = 1;
    } else if (unit < 0xdc00 || unit > 0xdfff) {
      // The second half of a surrogate pair is no character of its own.
      column += 1;
    }
  }
  return `line ${line}, column ${column}`;
}
