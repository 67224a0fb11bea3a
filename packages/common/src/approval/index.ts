export {
  type ApprovalArtifact,
  type ApprovalContext,
  approvalFromJson,
  checkApproval,
  parseApproval,
} from './approval.ts';
export { checkDualControl, type DualControl, type DualControlRule, dualControls } from './dual-control.ts';
export { approvalSchema } from './schema.ts';
