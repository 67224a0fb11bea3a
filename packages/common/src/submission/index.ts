export {
  maxSubmissionLifeMs,
  parseSubmission,
  type Submission,
  submissionSchema,
  submissionSha256,
  submissionSkewMs,
  type UnsignedSubmission,
} from './submission.ts';
