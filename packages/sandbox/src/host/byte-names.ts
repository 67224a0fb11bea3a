// A file name on Linux is bytes without NUL and slash, and need not be UTF-8 (path_resolution(7)). Paths are strings all
// the same: a byte that is part of no valid UTF-8 is the lone surrogate U+DC00 plus that byte, as in Python's os.fsdecode
// (PEP 383). No artifact holds such a string, as a lone surrogate is refused in what comes from outside (protocol, section
// 1): so a contract cannot name these files, and its trees and patterns can still meet them.

/**
 * The string for a path of these bytes; two different paths have two different ones.
 *
 * Its text is a part of the measuring child's program: it must refer to nothing but its parameters and Node's globals.
 */
export function decodePath(bytes: Buffer): string {
  const whole = bytes.toString('utf8');
  if (!whole.includes('\ufffd') || Buffer.from(whole, 'utf8').equals(bytes)) return whole;
  let path = '';
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const part = bytes.subarray(at, at + length);
    const text = part.toString('utf8');
    const isValid = Buffer.from(text, 'utf8').equals(part);
    path += isValid ? text : String.fromCharCode(0xdc00 + lead);
    at += isValid ? length : 1;
  }
  return path;
}

/**
 * The path as node:fs has to be given it: the string itself, or its bytes where these are no UTF-8, which Node would put
 * replacement characters for.
 *
 * Its text is a part of the measuring child's program: it must refer to nothing but its parameters and Node's globals.
 */
export function encodePath(path: string): string | Buffer {
  if (path.isWellFormed()) return path;
  const parts = path.split(/([\udc80-\udcff])/u);
  return Buffer.concat(
    parts.map((part, index) =>
      index % 2 === 0 ? Buffer.from(part, 'utf8') : Buffer.from([part.charCodeAt(0) - 0xdc00]),
    ),
  );
}

/** The path for people and for texts that must be UTF-8: a byte that is none as `\xe9`. */
export function showPath(path: string): string {
  return path.replaceAll(
    /[\udc80-\udcff]/gu,
    (unit) => `\\x${(unit.charCodeAt(0) - 0xdc00).toString(16).padStart(2, '0')}`,
  );
}
