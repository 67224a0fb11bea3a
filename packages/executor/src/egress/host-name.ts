import { domainToASCII } from 'node:url';

/** Why a text cannot be a host that a request names. */
export type HostProblem = 'ip_literal' | 'bad_name' | 'bad_port';

/** A host's name as it is compared and resolved, or why it is none. */
export type HostName =
  | { readonly ok: true; readonly name: string }
  | { readonly ok: false; readonly problem: HostProblem };

/** A name and a port, or why it is none. */
export type Authority =
  | { readonly ok: true; readonly name: string; readonly port: number }
  | { readonly ok: false; readonly problem: HostProblem };

// Letters, digits and hyphen (RFC 1123 §2.1), and the underscore, which names inside of companies do have.
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const longest = 253;
// Longer than any name can be in any spelling: nothing is computed from it.
const longestText = 1024;
const plain = /^[\x21-\x7e]+$/;

/**
 * Reads a host's name: case folded, one dot at the end taken off, other letters as A-labels (RFC 5891). IP addresses are
 * no names in any spelling that a resolver would read as one: `0177.1`, `2130706433` and `[::1]` included.
 */
export function parseHostName(text: string): HostName {
  const ascii = toAscii(text);
  if (ascii === undefined) return failed('bad_name');
  if (/[:[\]]/.test(ascii)) return failed('ip_literal');
  const name = ascii.replace(/\.$/, '');
  const labels = name.split('.');
  if (isNumber(labels.at(-1) ?? '')) return failed('ip_literal');
  if (name.length > longest || !labels.every((part) => label.test(part))) return failed('bad_name');
  return { ok: true, name };
}

/** Reads `NAME` or `NAME:PORT` (RFC 3986 §3.2, without userinfo). Absent `defaultPort`: the port must be there. */
export function parseAuthority(text: string, defaultPort?: number): Authority {
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d*))?$/.exec(text);
  if (parts === null) return failed(misspelled(text));
  const [, hostText = '', portText] = parts;
  const host = parseHostName(hostText);
  if (!host.ok) return host;
  const port = portText === undefined ? defaultPort : parsePort(portText);
  return port === undefined ? failed('bad_port') : { ok: true, name: host.name, port };
}

function misspelled(text: string): HostProblem {
  if (text.includes('@')) return 'bad_name';
  return /^[^:]*:[^:]*$/.test(text) ? 'bad_port' : 'ip_literal';
}

/** 1 to 65535, without a zero in front; undefined for anything else. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

// The converter also decodes percent signs and reads addresses, so it sees only what has letters beyond ASCII.
function toAscii(text: string): string | undefined {
  if (text === '' || text.length > longestText) return undefined;
  if (plain.test(text)) return text.toLowerCase();
  if (/[\0-\x20\x7f%/\\?#@<>^|]/.test(text)) return undefined;
  const ascii = domainToASCII(text);
  return ascii === '' || !plain.test(ascii) ? undefined : ascii.toLowerCase();
}

// What ends in a number is an IPv4 address (URL standard, "ends in a number checker"; inet_aton(3)).
function isNumber(lastLabel: string): boolean {
  return /^(?:\d+|0x[0-9a-f]*)$/.test(lastLabel);
}

function failed(problem: HostProblem): { readonly ok: false; readonly problem: HostProblem } {
  return { ok: false, problem };
}
