export {
  type ApprovalArtifact,
  type ApprovalContext,
  approvalFromJson,
  checkApproval,
  parseApproval,
} from './approval.ts';
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
export { approvalSchema } from './schema.ts';
