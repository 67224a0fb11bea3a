import type { GateClient } from '@csc-fleet/client';
import { CscError } from '@csc-fleet/common/errors';

// The beginning of a UUID, and less than all of it.
const shortId = /^[0-9a-f][0-9a-f-]{3,34}$/i;

/**
 * The whole id of the execution that somebody names by its beginning, of 4 characters at least: the gate looks among the
 * caller's own. Anything else is left as it is. Throws EXECUTION_UNKNOWN, also where several begin so.
 */
export async function resolveExecution(
  client: Pick<GateClient, 'getExecution'>,
  named: string,
): Promise<string> {
  if (!shortId.test(named)) return named;
  const { execution } = await client.getExecution(named);
  if (execution.executionId.startsWith(named.toLowerCase())) return execution.executionId;
  // What is cancelled or believed must be what was named.
  throw new CscError(
    'EXECUTION_UNKNOWN',
    `the gate gave another execution than one that begins with ${named}`,
  );
}
