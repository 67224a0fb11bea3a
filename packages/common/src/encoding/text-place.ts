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
