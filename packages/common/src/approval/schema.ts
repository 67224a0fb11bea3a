import * as z from 'zod';
import { boundedText, nonEmptyText, oneOf, sha256Member, timestamp, versionMember } from '../schema/index.ts';

const approver = z.strictObject({
  identity: nonEmptyText.meta({
    minLength: 1,
    description: 'For example an e-mail address or an SSO subject.',
  }),
  method: oneOf(['manual', 'cli', 'api', 'ticket']),
});

/** The rules of an ApprovalArtifact (protocol §6). */
export const approvalSchema = z
  .strictObject({
    approval_version: versionMember('approval', 'csc.approval.v0.1'),
    approval_id: nonEmptyText,
    contract_sha256: sha256Member,
    approver,
    approved_at: timestamp,
    expires_at: timestamp.meta({ format: 'date-time', description: 'Later than approved_at.' }),
    scope: oneOf(['single_execution', 'time_window']).meta({
      description: 'single_execution: used up by one execution. time_window: good until expires_at.',
    }),
    ticket_id: nonEmptyText.exactOptional().meta({ description: 'A change request or issue elsewhere.' }),
    reason: boundedText({ min: 0, max: 4000 }).exactOptional(),
  })
  .meta({
    title: 'CSC ApprovalArtifact v0.1',
    description: "One person's consent to one contract, by its hash.",
  });
