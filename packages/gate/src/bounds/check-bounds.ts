import { CscError, type Fault, zodFaults } from '@csc-fleet/common/errors';
import { acceptsMembers } from '@csc-fleet/common/schema';
import type * as z from 'zod';

const maxFaults = 20;

/** What a message must be. Made when the first comes: a process that ends after one run hears few kinds of them. */
export type Bounds = () => z.ZodType;

/** Makes them once. */
export function when(make: Bounds): Bounds {
  let made: z.ZodType | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/**
 * Holds what a peer sent against its bounds. Throws REQUEST_INVALID with every fault (at most 20), each with the member
 * as the proto file names it.
 * @param where comes before the member: `hello`; empty for a request
 */
export function checkBounds(bounds: Bounds, value: unknown, where = ''): void {
  const schema = bounds();
  if (acceptsMembers(schema, value)) return;
  const result = schema.safeParse(value);
  if (result.success) return;
  const faults = zodFaults(result.error)
    .slice(0, maxFaults)
    .map((fault) => atWire(fault, where));
  const [first] = faults;
  throw new CscError('REQUEST_INVALID', `${first?.path} ${first?.message}`, { faults });
}

function atWire({ path, message }: Fault, where: string): Fault {
  const member = [where, path].filter((part) => part !== '').join('.');
  return { path: member.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), message };
}

/**
 * A request or a link message that is not what it must be, in a member other than a contract.
 * @param member as the proto file names it: `key_ids`, `hello.labels`
 * @param problem continues the sentence that begins with the member
 */
export function requestInvalid(member: string, problem: string): CscError {
  return new CscError('REQUEST_INVALID', `${member} ${problem}`, {
    faults: [{ path: member, message: problem }],
  });
}
