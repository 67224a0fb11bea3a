import * as z from 'zod';
import { personAlgorithms } from '../crypto/index.ts';
import { parseIdentity } from '../identity/index.ts';
import {
  boundedText,
  groupName,
  integer,
  nonEmptyText,
  oneOf,
  sha256Member,
  signatureMember,
  timestamp,
  versionMember,
} from '../schema/index.ts';

const methods = ['manual', 'cli', 'api', 'ticket'] as const;

const approver = z.strictObject({
  identity: nonEmptyText.meta({
    minLength: 1,
    description: 'For example an e-mail address or an SSO subject.',
  }),
  method: oneOf(methods),
});

const scopeMember = oneOf(['single_execution', 'time_window']).meta({
  description: 'single_execution: used up by one execution. time_window: good until expires_at.',
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
    scope: scopeMember,
    ticket_id: nonEmptyText.exactOptional().meta({ description: 'A change request or issue elsewhere.' }),
    reason: boundedText({ min: 0, max: 4000 }).exactOptional(),
  })
  .meta({
    title: 'CSC ApprovalArtifact v0.1',
    description: "One person's consent to one contract, by its hash.",
  });

/** A client's identity, without patterns: a person who calls the gate, or who submits. */
export const personMember = z
  .string()
  .refine((text) => parseIdentity(text)?.role === 'client', {
    error: 'must be spiffe://TRUST_DOMAIN/client/NAME',
  })
  .meta({ examples: ['spiffe://csc.local/client/alice'] });

const nonceMember = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'must be 16 random bytes in lower-case hex')
  .meta({ description: 'Of this artifact alone, whatever becomes of it.' });

const personSignature = signatureMember.extend({ algorithm: oneOf(personAlgorithms) }).meta({
  id: 'PersonSignature',
  description:
    'Over the canonical JSON of the whole object without signature.signature; sshsig-*: over what PROTOCOL.sshsig makes of that, with the version of the artifact as its namespace and sha512. Of a security key (sk), its flags (1 byte) and counter (4 bytes) follow the 64 bytes of the signature.',
});

const submissionHash = sha256Member.meta({
  description:
    'Of what was submitted: of the canonical JSON of the Submission without its signature and without audience.executor_id, so that it stays the same once it names its host.',
});

// What a person signs for, whether it is an approval or stands in for one.
const subjectMembers = {
  contract_sha256: sha256Member,
  policy_profile: nonEmptyText,
  policy_sha256: sha256Member.meta({ description: 'Of the profile: another version of it asks again.' }),
  policy_version: integer({ min: 1 }).exactOptional().meta({
    description: 'Of the policy repository that was looked at: a host that is still at an older one refuses.',
  }),
  principal: personMember.meta({ description: 'Who submitted it.' }),
};

const audienceMember = z.strictObject({
  trust_domain: boundedText({ min: 1, max: 255 }),
  executor_id: boundedText({ min: 1, max: 255 })
    .exactOptional()
    .meta({ description: 'The one host that it is for. Absent: whichever the submission may run on.' }),
});

const signer = z.strictObject({
  identity: personMember,
  method: oneOf(methods),
});

/** The rules of a signed ApprovalArtifact. */
export const approvalV02Schema = z
  .strictObject({
    approval_version: versionMember('approval', 'csc.approval.v0.2'),
    approval_id: nonceMember,
    ...subjectMembers,
    submission_sha256: z.union([submissionHash, z.literal('any')]).meta({
      description:
        'any: every submission of this contract by this principal until expires_at, and those that nobody has signed.',
    }),
    audience: audienceMember,
    verdict: oneOf(['approve', 'reject']),
    approver: signer,
    group: groupName.meta({ description: 'Of approvers.yaml: as whose member the approver speaks.' }),
    approved_at: timestamp,
    expires_at: timestamp.meta({ format: 'date-time', description: 'Later than approved_at.' }),
    scope: scopeMember,
    ticket_id: nonEmptyText.exactOptional().meta({ description: 'A change request or issue elsewhere.' }),
    reason: boundedText({ min: 0, max: 4000 }).exactOptional(),
    signature: personSignature,
  })
  .meta({
    title: 'CSC ApprovalArtifact v0.2',
    description: "One person's yes or no to one contract, signed with that person's own key.",
  });

/** Seconds from approved_at to expires_at of a break-glass, at most, whatever approvers.yaml says. */
export const maxBreakGlassSec = 3600;

/** The rules of a break-glass: what lets one submission run without its approvals. */
export const breakGlassSchema = z
  .strictObject({
    break_glass_version: versionMember('break-glass', 'csc.break_glass.v0.1'),
    break_glass_id: nonceMember,
    ...subjectMembers,
    submission_sha256: submissionHash,
    audience: audienceMember,
    approver: signer,
    group: groupName.meta({ description: 'Of approvers.yaml, which names it for breaking the glass.' }),
    approved_at: timestamp,
    expires_at: timestamp.meta({
      format: 'date-time',
      description: 'Later than approved_at, by an hour at most, or by what approvers.yaml says.',
    }),
    reason: boundedText({ min: 10, max: 4000 }).meta({ description: 'Why nobody could be asked.' }),
    signature: personSignature,
  })
  .meta({
    title: 'CSC break-glass v0.1',
    description:
      'One person has one submission run without the approvals that its policy asks for. What the policy denies stays denied.',
  });
