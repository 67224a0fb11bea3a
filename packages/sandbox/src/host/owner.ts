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
