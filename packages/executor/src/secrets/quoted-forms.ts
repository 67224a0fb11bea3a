import { isUtf8 } from 'node:buffer';

/**
 * A text as it stands between quotes in JSON (and most source code), and in a shell's words. Bytes that are no UTF-8 can
 * be in neither.
 */
export function quotedForms(value: Buffer): readonly string[] {
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
