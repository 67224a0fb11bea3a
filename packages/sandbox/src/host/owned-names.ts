import { createHmac, randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { identify, type ProcessId } from './processes.ts';

/** How what this process makes on the host says whose it is: pid, start time and PID namespace, as `ownerPattern` has it. */
export function toOwnerId(): string {
  return `${process.pid}-${identify(process.pid)?.startTime ?? '0'}-${pidNamespace()}`;
}

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
