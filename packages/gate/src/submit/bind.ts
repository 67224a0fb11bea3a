import { canonicalJson } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import type { BindRequest } from '@csc-fleet/common/messages';
import type { Submission } from '@csc-fleet/common/submission';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions, Principal } from '../execution/executions.ts';
import { submissionOf } from '../execution/submission-of.ts';
import { openHandedIn, openHandedToken, type SubmissionRules } from './submission.ts';

export interface BindPorts extends SubmissionRules {
  readonly executions: Pick<Executions, 'visible'>;
  readonly scheduler: {
    /** The host that waits for this execution's submission to name it. */
    awaitedHost(executionId: string): { readonly name: string } | undefined;
    /** Resolves once the offer is on its way there. */
    bind(execution: LiveExecution, submissionJson: string): Promise<void>;
  };
}

/**
 * Takes the submission that names the host which BindingWanted has named: the same as before in all else. Resolves once
 * that is on disk, and the offer has left; likewise where the same has come before. Throws EXECUTION_UNKNOWN,
 * STORE_UNAVAILABLE, and SUBMISSION_INVALID and what else openSubmission throws.
 */
export async function bind(
  ports: BindPorts,
  principal: Principal,
  { executionId, submissionJson }: BindRequest,
  now: Date,
): Promise<void> {
  const execution = await ports.executions.visible(principal, executionId);
  const first = submissionOf(execution.row);
  const host = ports.scheduler.awaitedHost(executionId);
  if (host === undefined || first === undefined) {
    if (submissionJson.toString('utf8') === first?.text) return;
    throw invalid('no host waits for the submission to name it');
  }
  const { contract_sha256: contractSha256 } = execution.row;
  // The same token as before, which this gate keeps for the host.
  const token = await openHandedToken(execution.row.submission_token ?? '', ports);
  const handed = { principal, contractSha256, token, now };
  const { submission, text } = openHandedIn(submissionJson, handed, ports);
  if (submission.audience.executor_id !== host.name)
    throw invalid(`the submission must name ${host.name}, where the execution was placed`);
  if (withoutHost(submission) !== withoutHost(first.submission))
    throw invalid('the submission must say the same as the first one, but for the host');
  await ports.scheduler.bind(execution, text);
}

function withoutHost({ signature: _, audience, ...rest }: Submission): string {
  const { executor_id: __, ...others } = audience;
  return canonicalJson({ ...rest, audience: others });
}

function invalid(message: string): CscError {
  return new CscError('SUBMISSION_INVALID', message);
}
