import { createHmac, randomBytes } from 'node:crypto';

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
