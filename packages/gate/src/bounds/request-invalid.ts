import { CscError } from '@csc-fleet/common/errors';

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
