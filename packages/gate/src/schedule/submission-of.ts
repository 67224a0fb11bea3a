import { parseSubmission, type Submission } from '@csc-fleet/common/submission';
import type { NewExecution } from '../store/tables.ts';

/** The submission of a row; undefined where there is none. */
export function submissionOf({
  submission_json: text,
}: Pick<NewExecution, 'submission_json'>): Submission | undefined {
  if (text === null || text === undefined) return undefined;
  // One that does not parse was never stored.
  const submission = parseSubmission(Buffer.from(text));
  return submission.ok ? submission.value : undefined;
}

/** True where its submitter has yet to name the host that it was placed on. */
export function wantsBinding(row: Pick<NewExecution, 'submission_json' | 'binding'>): boolean {
  return row.binding === 'host' && submissionOf(row)?.audience.executor_id === undefined;
}
