export {
  maxSubmissionBytes,
  maxSubmissionLifeMs,
  openSubmission,
  parseSubmission,
  type Submission,
  type SubmissionContext,
  signSubmission,
  submissionSchema,
  submissionSha256,
  submissionSkewMs,
  type UnsignedSubmission,
} from './submission.ts';
