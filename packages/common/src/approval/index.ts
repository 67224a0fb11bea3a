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
  noApprovers,
  parseApprovers,
  withoutRevoked,
} from './approvers.ts';
export {
  type ApprovalConfig,
  type ApprovalCount,
  type ApprovalRules,
  type ConsumedApproval,
  countApprovals,
  type DualControl,
  dualControls,
  findDualControlObjection,
  orThrowObjection,
  toConsumed,
} from './count-approvals.ts';
export {
  approvalSchema,
  approvalV02Schema,
  breakGlassSchema,
  groupName,
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
