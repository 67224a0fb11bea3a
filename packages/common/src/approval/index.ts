export {
  type ApprovalArtifact,
  type ApprovalContext,
  approvalFromJson,
  checkApproval,
  parseApproval,
} from './approval.ts';
export { approvalSchema } from './schema.ts';
