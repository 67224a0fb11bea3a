import { readlinkSync } from 'node:fs';
import { identify, type ProcessId } from './process-id.ts';

/** How what this process makes on the host says whose it is: pid, start time and PID namespace, as `ownerPattern` has it. */
export function toOwnerId(): string {
  own ??= `${process.pid}-${identify(process.pid)?.startTime ?? '0'}-${pidNamespace() ?? '0'}`;
  return own;
}

// Of this process, as long as it lives.
let own: string | undefined;

/** The text of an owner's id within a name, as the source of a regular expression with three groups. */
export const ownerPattern = '(\\d+)-(\\d+)-(\\d+)';

/**
 * The process that an owner's id means; undefined where it is one of another PID namespace, where there is no id, and
 * without Linux, where nobody can tell whether a process lives.
 */
export function parseOwner(
  pid: string | undefined,
  startTime: string | undefined,
  namespace: string | undefined,
): ProcessId | undefined {
  // A pid means nothing outside its namespace: an executor in a container would look dead to one on the host.
  const isToldOf = pid !== undefined && startTime !== undefined && namespace !== undefined;
  return isToldOf && namespace === pidNamespace() ? { pid: Number(pid), startTime } : undefined;
}

function pidNamespace(): string | undefined {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
  } catch {
    return undefined;
  }
}
