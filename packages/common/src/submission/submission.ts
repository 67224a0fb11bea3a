import * as z from 'zod';
import { artifactBytes, canonicalBytes, sha256Hex } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { parseIdentity } from '../identity/index.ts';
import { receiptVersions } from '../receipt/index.ts';
import {
  boundedText,
  labelsMember,
  limitsSchema,
  nonEmptyText,
  oneOf,
  parseArtifact,
  sha256Member,
  signatureMember,
  terminalMember,
  timestamp,
  uniqueList,
  validate,
  versionMember,
} from '../schema/index.ts';

/** A client's identity, without patterns. */
const principalMember = z
  .string()
  .refine((text) => parseIdentity(text)?.role === 'client', {
    error: 'must be spiffe://TRUST_DOMAIN/client/NAME',
  })
  .meta({ examples: ['spiffe://csc.local/client/ci-7'] });

const audience = z.strictObject({
  trust_domain: boundedText({ min: 1, max: 255 }),
  selector: labelsMember.meta({
    description: 'Labels that the host must have, all of them. Empty: any host.',
  }),
  executor_id: boundedText({ min: 1, max: 255 })
    .exactOptional()
    .meta({ description: 'The one host that may run it. Absent: any that the selector names.' }),
});

const options = z.strictObject({
  limits: limitsSchema.exactOptional().meta({
    description: 'The most that the submitter wants used; policy and host can only say less.',
  }),
  require_outputs: z.literal(true).exactOptional().meta({
    description: 'The run has failed where an expected output is not there, or cannot be hashed.',
  }),
  attest: z.literal(true).exactOptional().meta({
    description: 'Its executor attests the receipt: in-toto statements that it signs with its receipt key.',
  }),
  seal: z
    .strictObject({
      algorithm: oneOf(['csc.seal.v0.1']),
      public_key: z
        .string()
        .regex(/^[A-Za-z0-9+/]{43}=$/, 'must be base64 of 32 bytes')
        .meta({ description: 'X25519.' }),
    })
    .exactOptional()
    .meta({
      description: 'What it prints is sealed to this key before it leaves the host. Absent: it is not.',
    }),
  terminal: terminalMember.exactOptional().meta({
    description:
      'The terminal that it is to run on, where policy and host grant one. Absent: it never has one.',
  }),
});

const submissionSignature = signatureMember.extend({ algorithm: oneOf(['ed25519', 'sshsig-ed25519']) }).meta({
  id: 'SubmissionSignature',
  description:
    'Ed25519 over the canonical JSON of the whole object without signature.signature; sshsig-ed25519: over what PROTOCOL.sshsig makes of that, with namespace csc.submission.v0.1 and sha512.',
});

/** The rules of a Submission. */
export const submissionSchema = z
  .strictObject({
    submission_version: versionMember('submission', 'csc.submission.v0.1'),
    contract_sha256: sha256Member,
    principal: principalMember,
    policy_profile: nonEmptyText
      .exactOptional()
      .meta({ description: 'Absent: the first of the profiles that the principal is bound to.' }),
    nonce: z
      .string()
      .regex(/^[0-9a-f]{32}$/, 'must be 16 random bytes in lower-case hex')
      .meta({ description: 'Used once on a host, whatever came of it.' }),
    audience,
    not_before: timestamp,
    expires_at: timestamp.meta({
      format: 'date-time',
      description: 'At most 24 h after not_before; bounds the start only.',
    }),
    receipt_version: oneOf(receiptVersions),
    options,
    approvals: uniqueList(boundedText({ min: 1, max: 256 }), 0).meta({
      uniqueItems: true,
      description: 'Ids of the approvals that the submitter wants counted. Empty: whatever comes.',
    }),
    token_sha256: sha256Member.exactOptional().meta({
      description:
        'Of the OIDC token that says who the principal is, which comes beside it. Then signature.key_id is the base64 of the public key that signed, which the token names. Absent: a key that bindings.yaml names has signed.',
    }),
    signature: submissionSignature,
  })
  .meta({
    title: 'CSC Submission v0.1',
    description: 'Who asks for which contract to be run, where and until when, signed by the submitter.',
  });

/** What a submitter asks for, signed with the submitter's own key. */
export type Submission = z.infer<typeof submissionSchema>;
export type UnsignedSubmission = Omit<Submission, 'signature'>;

/** Milliseconds from not_before to expires_at, at most. */
export const maxSubmissionLifeMs = 24 * 3_600_000;

/** Milliseconds that a submitter's clock may be off, either way. */
export const submissionSkewMs = 60_000;

/** Reads a submission from its JSON text. The signature is not verified here: openSubmission of evidence/ does that. */
export function parseSubmission(bytes: Uint8Array): Parsed<Submission> {
  return parseArtifact(bytes, artifactBytes.submission, (value) => validate(submissionSchema, value));
}

/** Lower-case hex SHA-256 of its canonical JSON, signature included: what tickets and receipts name it by. */
export function submissionSha256(submission: Submission): string {
  return sha256Hex(canonicalBytes(submission));
}
