import * as z from 'zod';
import { networkModes } from '../contract/index.ts';
import {
  count,
  epochMember,
  integer,
  limitNames,
  nonEmptyText,
  oneOf,
  reportedPath,
  sha256Member,
  taggedSha256Member,
  timestamp,
  versionMember,
} from '../schema/index.ts';
import { commonMembers, effectSummary, ranRule, refineRan } from './schema-v01.ts';

/** How a command, or a whole execution, can end (protocol §9). */
export const endings = [
  'exit',
  'signal',
  'timeout',
  'cancelled',
  'output_limit',
  'out_of_memory',
  'executor_restart',
  'refused',
] as const;

const egressHostCount = z.strictObject({
  host: nonEmptyText,
  port: integer({ min: 0, max: 65_535 }),
  verdict: oneOf(['allowed', 'denied']),
  reason: nonEmptyText.exactOptional().meta({ minLength: 1, description: 'Why it was denied.' }),
  count,
});

const egress = z
  .strictObject({
    allowed: count,
    denied: count,
    hosts: z.array(egressHostCount),
    omitted: count.exactOptional().meta({ description: 'Entries that `hosts` has no room for.' }),
  })
  .meta({ id: 'Egress', description: 'Requests to the proxy that is the only way out, by where they led.' });

const effects = effectSummary.extend({
  egress: egress.exactOptional(),
  bytes_written: count.exactOptional().meta({ description: 'On the disk, below the write scopes.' }),
  inodes_written: count.exactOptional().meta({
    description:
      'Files, directories, symlinks and others made or changed below the write scopes, hard links once.',
  }),
  written_in_part: z.boolean().exactOptional().meta({
    description:
      'True: this is what could be seen below the write scopes in the time for it; there may be more.',
  }),
});

/** Why an expected output is not among the artifacts. */
export const leftOutReasons = [
  // Nothing is there.
  'missing',
  // A directory, a symlink, a FIFO, a socket or a device.
  'not_a_file',
  // Outside of what the commands could write.
  'not_writable',
  // It may not be read, or reading failed.
  'unreadable',
  // Another process has a lease on it.
  'busy',
  // Another process wrote it while it was read.
  'changed',
  // More bytes than were left, more time than there was, no room in the receipt.
  'artifact_bytes',
  'artifact_sec',
  'receipt_bytes',
  'cancelled',
] as const;

export type LeftOutReason = (typeof leftOutReasons)[number];

/** As many expected outputs as a receipt names that it has no hash of. */
export const maxLeftOut = 64;

const artifactsLeftOut = z
  .strictObject({
    count: integer({ min: 1 }).meta({ description: 'All of them.' }),
    first: z
      .array(z.strictObject({ path: reportedPath, reason: oneOf(leftOutReasons) }))
      .min(1)
      .max(maxLeftOut),
  })
  .meta({ id: 'ArtifactsLeftOut', description: 'Expected outputs that are not among the artifacts.' });

const commandResult = z
  .strictObject({
    command_id: nonEmptyText,
    argv_sha256: sha256Member.meta({
      description: "Over the canonical JSON of exec's argv, or of the array of a pipeline's argvs.",
    }),
    started_at: timestamp.exactOptional(),
    ended_at: timestamp.exactOptional(),
    exit_code: z.int().exactOptional(),
    signal: nonEmptyText.exactOptional().meta({ examples: ['SIGKILL'] }),
    ended: oneOf(endings),
    oom_kills: count
      .exactOptional()
      .meta({ description: 'Processes that the kernel killed for want of memory.' }),
    stdout_hash: taggedSha256Member,
    stdout_bytes: count,
    stdout_truncated: z.boolean().exactOptional(),
    stderr_hash: taggedSha256Member,
    stderr_bytes: count,
    stderr_truncated: z.boolean().exactOptional(),
    terminal_hash: taggedSha256Member
      .exactOptional()
      .meta({ description: 'Of what a terminal showed; absent where it had none.' }),
    terminal_bytes: count.exactOptional(),
    terminal_truncated: z.boolean().exactOptional(),
    recording_hash: taggedSha256Member
      .exactOptional()
      .meta({ description: 'Of the asciicast (v3) of its terminal; absent where it had none.' }),
    recording_bytes: count.exactOptional(),
    recording_truncated: z.boolean().exactOptional(),
  })
  .meta({ id: 'CommandResult', description: 'One command that was started, or would have been next.' });

const limit = z.strictObject({
  name: nonEmptyText.meta({ minLength: 1, examples: [...limitNames] }),
  value: z.int(),
  mechanism: nonEmptyText.meta({ minLength: 1, description: 'What enforced it.' }),
});

const sandbox = z
  .strictObject({
    mechanism: oneOf(['bubblewrap', 'none']),
    bwrap_version: nonEmptyText.exactOptional(),
    namespaces: z.array(nonEmptyText),
    cgroup: oneOf(['v1', 'v2', 'none']).exactOptional(),
    network: oneOf(networkModes).exactOptional(),
    seccomp_sha256: sha256Member.exactOptional(),
    limits: z.array(limit),
    uid: integer({ min: 0 }).exactOptional(),
    gid: integer({ min: 0 }).exactOptional(),
    user: nonEmptyText.meta({ minLength: 1, description: 'The name of `uid` on the host.' }).exactOptional(),
    group: nonEmptyText.meta({ minLength: 1, description: 'The name of `gid` on the host.' }).exactOptional(),
  })
  .meta({ id: 'Sandbox', description: 'What was really enforced.' });

const approvalUsed = z.strictObject({
  approval_id: nonEmptyText,
  approver: nonEmptyText,
  scope: nonEmptyText,
  kind: oneOf(['approval', 'break_glass']).exactOptional().meta({
    description: 'break_glass: it stood in for the approvals that were due. Absent: nobody has signed it.',
  }),
  group: nonEmptyText.exactOptional().meta({ minLength: 1, description: 'As whose member it was given.' }),
  sha256: sha256Member.exactOptional().meta({ description: 'Of `artifact`.' }),
  artifact: nonEmptyText.exactOptional().meta({
    minLength: 1,
    description: 'What the person has signed, as canonical JSON: csc.approval.v0.2 or csc.break_glass.v0.1.',
  }),
});

const identity = z
  .strictObject({
    issuer: nonEmptyText,
    subject: nonEmptyText,
    token_sha256: sha256Member,
    jti: nonEmptyText.exactOptional(),
    binding: oneOf(['key', 'weak']),
  })
  .meta({
    id: 'TokenIdentity',
    description:
      'The OIDC token that said who the principal was; the host has verified it. weak: it named no key, so that whoever saw it could have used it.',
  });

/** From an executor's own up to the CA, without it. */
export const maxReceiptCertificates = 4;

const sealed = z
  .strictObject({
    algorithm: oneOf(['csc.seal.v0.1']),
    public_key: z.base64().length(44).meta({ description: 'X25519: whose private half opens it.' }),
  })
  .meta({
    id: 'Sealed',
    description:
      'Its output was sealed to this key: stdout_hash, stderr_hash and all counts of bytes are of the sealed bytes.',
  });

/** As many statements as one receipt attests. */
const maxAttestations = 4;

const attestation = z
  .strictObject({
    predicate_type: nonEmptyText.max(200),
    signature: z.base64().length(88).meta({
      description:
        'Ed25519, with the key of the receipt’s own signature, over the DSSE encoding (PAE) of the in-toto Statement that the rest of the receipt gives.',
    }),
  })
  .meta({
    id: 'Attestation',
    description: 'docs/exports.md says which statement each predicate type gives.',
  });

const certificate = z.base64().max(8192).meta({ description: 'X.509, DER in base64; the leaf first.' });

/** The rules of an ExecutionReceipt v0.2 (protocol §9). */
export const receiptV02Schema = z
  .strictObject({
    receipt_version: versionMember('receipt', 'csc.receipt.v0.2'),
    ...commonMembers,
    effect_summary: effects.exactOptional(),
    artifacts_left_out: artifactsLeftOut.exactOptional(),
    ticket_id: nonEmptyText.exactOptional(),
    executor_id: nonEmptyText.exactOptional(),
    principal: nonEmptyText
      .exactOptional()
      .meta({ minLength: 1, description: 'The identity that the contract was run for.' }),
    submission_sha256: sha256Member.exactOptional().meta({
      description:
        'Of the submission that the principal signed; absent where there was none. Of a refusal: of what came, whether or not anybody had signed it.',
    }),
    identity: identity.exactOptional(),
    policy_version: integer({ min: 1 })
      .exactOptional()
      .meta({ description: 'Of the policy repository that the host decided by.' }),
    warnings: z.array(nonEmptyText).min(1).exactOptional().meta({
      description: 'Why it would have been refused, had the host’s owner not only been trying that out.',
    }),
    commands: z.array(commandResult),
    ended: oneOf(endings),
    sandbox: sandbox.exactOptional(),
    approvals: z.array(approvalUsed),
    previous_receipt_sha256: sha256Member
      .exactOptional()
      .meta({ description: "Of the same executor's receipt before this one; absent in its first." }),
    sequence: integer({ min: 1 }).exactOptional().meta({
      description: "Its number in the executor's chain: from 1, without gaps, in one epoch.",
    }),
    executor_epoch: epochMember
      .exactOptional()
      .meta({ description: "The executor's journal that has numbered it." }),
    receipt_certificates: z.array(certificate).min(1).max(maxReceiptCertificates).exactOptional().meta({
      description: "The certificate of the key that signed it, and those between it and the fleet's CA.",
    }),
    sealed: sealed.exactOptional(),
    attestations: z.array(attestation).min(1).max(maxAttestations).exactOptional().meta({
      description: 'Where they were asked for: signatures of statements that others verify.',
    }),
  })
  .superRefine(refineRan, { when: () => true })
  .meta({
    title: 'CSC ExecutionReceipt v0.2',
    description: 'What really happened, command by command.',
    ...ranRule,
  });
