import { createHmac, randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { identify, type ProcessId } from './processes.ts';

/** How what this process makes on the host says whose it is: pid, start time and PID namespace, as `ownerPattern` has it. */
export function toOwnerId(): string {
  own ??= `${process.pid}-${identify(process.pid)?.startTime ?? '0'}-${pidNamespace()}`;
  return own;
}

// Of this process, as long as it lives.
let own: string | undefined;

/** The text of an owner's id within a name, as the source of a regular expression with three groups. */
export const ownerPattern = '(\\d+)-(\\d+)-(\\d+)';

/** The process that an owner's id means; undefined where it is one of another PID namespace, or there is no id. */
export function parseOwner(
  pid: string | undefined,
  startTime: string | undefined,
  namespace: string | undefined,
): ProcessId | undefined {
  // A pid means nothing outside its namespace: an executor in a container would look dead to one on the host.
  if (pid === undefined || startTime === undefined || namespace !== pidNamespace()) return undefined;
  return { pid: Number(pid), startTime };
}

// Without Linux, where only local mode runs, there is one.
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}

/**
 * The PATH of what builds sandboxes, by which `sweepLeftovers` knows whose that is: its last directory is not there, and
 * has a name that was made with the owner's key. Jobs may read it, in /proc/1/environ, and get another PATH.
 */
export function toMarkedPath(mark: string): string {
  return `/usr/bin:/bin:/${mark}`;
}

/** The mark of such a PATH; empty where it has none. */
export function markOf(path: string | undefined): string {
  return path?.split(':/').at(-1) ?? '';
}

/** A name that looks random to a job, and of which who has the key can tell that it was made with it. */
export function toUntoldName(key: string): string {
  const nonce = randomBytes(8).toString('hex');
  return `${nonce}${mark(nonce, key)}`;
}

/** Whether a name was made with one of these keys. */
export function isNamedWith(name: string, keys: readonly string[]): boolean {
  const [, nonce, found] = /^([0-9a-f]{16})([0-9a-f]{16})$/.exec(name) ?? [];
  return nonce !== undefined && keys.some((key) => mark(nonce, key) === found);
}

function mark(nonce: string, key: string): string {
  return createHmac('sha256', key).update(nonce).digest('hex').slice(0, 16);
}
