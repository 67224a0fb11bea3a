// Control characters but tab and line feed; what is by its definition not shown (zero-width joiners and spaces, variation
// selectors, tags, Hangul fillers: Unicode's Default_Ignorable_Code_Point, UAX #44); format characters, of which some
// turn the direction of what follows (CVE-2021-42574); line and paragraph separators; the blank Braille pattern; and white
// space that is none of those that programs take for it.
const invisible = once(() => /(?![\t\n ])[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Z}\u2800]/gu);

// And what stands on the character before it, or is no character yet, or is one of somebody's own.
const unclear = once(
  () => /(?![\t\n ])[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Z}\u2800\p{M}\p{Cn}\p{Co}]/gu,
);

// Unicode's properties are looked up as a pattern is made, which takes longer than a short command has for it: most texts
// are of these alone, which are all to be seen.
const plain = /^[\t\n -~]*$/;

function once(make: () => RegExp): () => RegExp {
  let made: RegExp | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/**
 * Text from elsewhere with every character in it that nobody would see, or that would move what they see, as a visible
 * escape: `\u202e`, or `\u{e0041}` beyond four digits. So nobody's intent, argument or message can hide a part of
 * itself, move the cursor or retitle a window (CWE-150, CWE-1007). Line feeds and tabs stay.
 */
export function showInvisible(text: string): string {
  return plain.test(text) ? text : text.toWellFormed().replace(invisible(), toEscape);
}

/**
 * The same for what somebody is to answer for: marks that pile up on a character, private characters and unassigned ones are
 * escapes, too. Texts in scripts that need marks can be read less well for it.
 */
export function showUnclear(text: string): string {
  return plain.test(text) ? text : text.toWellFormed().replace(unclear(), toEscape);
}

/** Every character beyond ASCII as its escape: two texts that look alike and are not look different (UTS #39). */
export function showBeyondAscii(text: string): string {
  return showInvisible(text).replace(/[^\t\n\u0020-\u007e]/gu, toEscape);
}

function toEscape(char: string): string {
  const hex = (char.codePointAt(0) ?? 0).toString(16);
  return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`;
}

/** The same for a line of JSON, which stays the same value: there, all of these stand within strings (RFC 8259 §7). */
export function escapeInvisible(json: string): string {
  if (plain.test(json)) return json;
  return json.replace(invisible(), (char) =>
    char
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}
