export { type AnyApproval, approvalSha256, parseAnyApproval } from './any-approval.ts';
export {
  type ApprovalArtifact,
  type ApprovalContext,
  approvalFromJson,
  checkApproval,
  parseApproval,
} from './approval.ts';
export {
  type Approver,
  type ApproverKey,
  type Approvers,
  approversSchema,
  parseApprovers,
  withoutRevoked,
} from './approvers.ts';
export {
  type ApprovalConfig,
  type ApprovalCount,
  type ApprovalRules,
  type ConsumedApproval,
  type CountedApproval,
  countApprovals,
  type DualControl,
  dualControls,
  findDualControlObjection,
  orThrowObjection,
  type QuorumStanding,
  toConsumed,
} from './count-approvals.ts';
export {
  approvalSchema,
  approvalV02Schema,
  breakGlassSchema,
  maxBreakGlassSec,
} from './schema.ts';
export {
  type BreakGlass,
  breakGlassFromJson,
  parseBreakGlass,
  parseSignedApproval,
  type SignedApproval,
  signApproval,
  signBreakGlass,
  signedApprovalFromJson,
  submissionContentSha256,
  type UnsignedApproval,
  type UnsignedBreakGlass,
  verifyPersonSignature,
} from './signed.ts';
export { type SignedSubject, verifyApproval, verifyBreakGlass } from './verify-signed.ts';
