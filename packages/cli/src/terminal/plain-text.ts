/**
 * Text from elsewhere made safe for a terminal: control and direction-changing characters become visible escapes, so
 * that nobody's intent or error message can move the cursor, hide lines or retitle the window (CWE-150).
 * Line feeds and tabs stay.
 */
export function plainText(text: string): string {
  return text
    .toWellFormed()
    .replace(
      /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
}

/** The same on one line. */
export function plainLine(text: string): string {
  return plainText(text).replace(/\s*[\n\t]\s*/g, ' ');
}
