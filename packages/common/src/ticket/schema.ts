import * as z from 'zod';
import { receiptVersions } from '../receipt/index.ts';
import {
  epochMember,
  grantedLimitsSchema,
  nonEmptyText,
  oneOf,
  sha256Member,
  signatureMember,
  terminalMember,
  timestamp,
  uniqueList,
  versionMember,
} from '../schema/index.ts';

const grant = z
  .strictObject({
    receipt_version: oneOf(receiptVersions),
    limits: grantedLimitsSchema,
    terminal: terminalMember
      .exactOptional()
      .meta({ description: 'That was asked for, as it was asked for. Absent: it has none.' }),
  })
  .meta({ id: 'Grant', description: 'The limits and options in effect for this execution.' });

/** The rules of an ExecutionTicket (protocol §9). */
export const ticketSchema = z
  .strictObject({
    ticket_version: versionMember('ticket', 'csc.ticket.v0.1'),
    ticket_id: nonEmptyText.meta({ minLength: 1, description: 'The nonce: a ticket is redeemed once.' }),
    issuer: nonEmptyText,
    audience: nonEmptyText.meta({ minLength: 1, description: 'The one executor that may redeem it.' }),
    execution_id: nonEmptyText,
    contract_sha256: sha256Member,
    policy_sha256: sha256Member,
    policy_profile: nonEmptyText,
    principal: nonEmptyText.meta({ minLength: 1, description: 'The identity that submitted the contract.' }),
    approval_ids: uniqueList(nonEmptyText, 0),
    submission_sha256: sha256Member
      .exactOptional()
      .meta({ description: "The submitter's Submission that the offer carries. Absent: there is none." }),
    executor_epoch: epochMember.exactOptional().meta({
      description: "The host's journal that it is for: another one has not seen what was redeemed.",
    }),
    policy_version: z
      .int()
      .min(1)
      .exactOptional()
      .meta({ description: 'The version of the policy repository that the gate decided under.' }),
    grant,
    not_before: timestamp,
    expires_at: timestamp.meta({
      format: 'date-time',
      description: 'At most 60 s after not_before; bounds the start only.',
    }),
    signature: signatureMember,
  })
  .meta({
    title: 'CSC ExecutionTicket v0.1',
    description: "A gate's permission to one executor to start one contract once.",
  });
