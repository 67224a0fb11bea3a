import { createHmac, randomBytes } from 'node:crypto';

/**
 * Names for what jobs get open. The kernel shows a job the last name of what it has open (proc_pid_fd(5)), also once the
 * file has none any more: these look random to it, and who has the key can tell that they were made with it.
 */
export function toUntoldName(key: string): string {
  const nonce = randomBytes(8).toString('hex');
  return `${nonce}${mark(nonce, key)}`;
}

/** Whether a path ends with a name that was made with one of these keys; " (deleted)", as /proc has it, may follow. */
export function isNamedWith(path: string, keys: readonly string[]): boolean {
  const [, nonce, found] = /\/([0-9a-f]{16})([0-9a-f]{16})(?: \(deleted\))?$/.exec(path) ?? [];
  return nonce !== undefined && keys.some((key) => mark(nonce, key) === found);
}

function mark(nonce: string, key: string): string {
  return createHmac('sha256', key).update(nonce).digest('hex').slice(0, 16);
}
