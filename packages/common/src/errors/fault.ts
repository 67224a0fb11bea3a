import { showInvisible } from './invisible.ts';

/** One thing wrong with a document. */
export interface Fault {
  /** The member, as in `commands[0].exec.argv[3]`; empty for the document itself. */
  readonly path: string;
  /** What is wrong with it and what would be right, without the path. */
  readonly message: string;
}

/** What a `parseX` gives: the value, or every fault that was found (at least one). */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/** A parse that succeeded. */
export function parsed<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

/** A parse that failed for one reason; `path` is empty for the document itself. */
export function faulty(
  message: string,
  path = '',
): { readonly ok: false; readonly faults: readonly Fault[] } {
  return { ok: false, faults: [{ path, message }] };
}

const plainKey = /^[A-Za-z_$][\w$-]*$/;
const keyShown = 64;

// A key is the sender's text: it may be a megabyte long or hold terminal escapes.
function keySegment(key: string, first: boolean): string {
  if (key.length <= keyShown && plainKey.test(key)) return first ? key : `.${key}`;
  return `[${quoteBriefly(key)}]`;
}

/** `text` as a JSON string, cut at 64 characters: for showing what a sender wrote without echoing all of it. */
export function quoteBriefly(text: string): string {
  const shown = text.length > keyShown ? `${text.slice(0, keyShown)}…` : text;
  return showInvisible(JSON.stringify(shown.toWellFormed()));
}

/** Joins keys and array indexes to the path of a Fault: `['commands', 0, 'exec']` to `commands[0].exec`. */
export function memberPath(segments: readonly PropertyKey[]): string {
  let path = '';
  for (const segment of segments) {
    path += typeof segment === 'number' ? `[${segment}]` : keySegment(String(segment), path === '');
  }
  return path;
}

/** One indented line a fault, for people: `  commands[0].cwd: must be absolute`. Empty for no faults. */
export function formatFaults(faults: readonly Fault[]): string {
  return faults
    .map(({ path, message }) => (path === '' ? `  ${message}` : `  ${path}: ${message}`))
    .join('\n');
}
