import {
  type Approvers,
  parseApprovers,
  type SignedApproval,
  signApproval,
  signBreakGlass,
  submissionContentSha256,
  type UnsignedApproval,
  type UnsignedBreakGlass,
} from '@csc-fleet/common/approval';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, type PersonSigner, type Signer, toBase64 } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import type { Submission } from '@csc-fleet/common/submission';

/** A person who may approve, and with what. */
export interface TestPerson {
  readonly identity: string;
  readonly key: Signer;
  /** What else they are called. Absent: nothing. */
  readonly also?: readonly string[];
}

export function person(name: string, fill: number): TestPerson {
  return {
    identity: `spiffe://csc.local/client/${name}`,
    key: createSigner(Buffer.alloc(32, fill), `${name}-approves`),
  };
}

/** approvers.yaml of these people, with the groups and whatever else in YAML. */
export function makeApprovers(people: readonly TestPerson[], rest: string): Approvers {
  const entries = people.map(
    ({ identity, key, also = [] }) =>
      `  - {identity: "${identity}", also: ${JSON.stringify(also)}, keys: [{key_id: ${key.keyId}, public_key: "${toBase64(key.publicKey)}"}]}\n`,
  );
  const text = `approvers_version: csc.approvers.v0.1\napprovers:\n${entries.join('')}${rest}`;
  return orThrow(parseApprovers(Buffer.from(text)), 'POLICY_INVALID', 'approvers.yaml');
}

/** What is approved. */
export interface ApprovedSubject {
  readonly contract: CommandContract;
  readonly policy: PolicyDocument;
  readonly principal: string;
  /** Absent: nobody has signed one. */
  readonly submission?: Submission;
  readonly now: Date;
}

let made = 0;

function membersOf({ contract, policy, principal, now }: ApprovedSubject) {
  return {
    contract_sha256: contractSha256(contract),
    policy_profile: policy.policy.name,
    policy_sha256: policy.sha256,
    principal,
    audience: { trust_domain: 'csc.local' },
    approved_at: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + 600_000)),
  };
}

function nextId(): string {
  made += 1;
  return made.toString(16).padStart(32, '0');
}

/** An approval by this person, as a member of that group, with whatever else it says. */
export function approveSigned(
  subject: ApprovedSubject,
  { identity, key }: TestPerson,
  group: string,
  overrides: Partial<SignedApproval> = {},
): Promise<Buffer> {
  const { submission, now } = subject;
  const unsigned: UnsignedApproval = {
    approval_version: 'csc.approval.v0.2',
    approval_id: nextId(),
    ...membersOf(subject),
    submission_sha256: submission === undefined ? 'any' : submissionContentSha256(submission),
    verdict: 'approve',
    approver: { identity, method: 'cli' },
    group,
    scope: 'single_execution',
    ...overrides,
  };
  return signApproval(unsigned, asPerson(key), now);
}

/** A break-glass, likewise. */
export function breakGlass(
  subject: ApprovedSubject,
  { identity, key }: TestPerson,
  group: string,
  overrides: Partial<UnsignedBreakGlass> = {},
): Promise<Buffer> {
  const { submission, now } = subject;
  const unsigned: UnsignedBreakGlass = {
    break_glass_version: 'csc.break_glass.v0.1',
    break_glass_id: nextId(),
    ...membersOf(subject),
    submission_sha256: submission === undefined ? 'f'.repeat(64) : submissionContentSha256(submission),
    approver: { identity, method: 'cli' },
    group,
    reason: 'the site is down, and nobody answers',
    ...overrides,
  };
  return signBreakGlass(unsigned, asPerson(key), now);
}

function asPerson(key: Signer): PersonSigner {
  return { keyId: key.keyId, algorithm: 'ed25519', sign: (message) => key.sign(message) };
}
