import { randomBytes } from 'node:crypto';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import type { Signer } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { signArtifact } from '@csc-fleet/common/evidence';
import type { UnsignedSubmission } from '@csc-fleet/common/submission';

export interface SubmissionParts {
  /** A client's SPIFFE id in csc.local. */
  readonly principal: string;
  readonly signer: Signer;
  /** It stands from here on for ten minutes. */
  readonly now: Date;
  readonly overrides?: Partial<UnsignedSubmission>;
}

/** A submission of this contract for any host of csc.local, as it leaves its submitter. */
export function signSubmission(
  contract: CommandContract,
  { principal, signer, now, overrides = {} }: SubmissionParts,
): Buffer {
  const unsigned: UnsignedSubmission = {
    submission_version: 'csc.submission.v0.1',
    contract_sha256: contractSha256(contract),
    principal,
    nonce: randomBytes(16).toString('hex'),
    audience: { trust_domain: 'csc.local', selector: {} },
    not_before: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + 600_000)),
    receipt_version: 'csc.receipt.v0.2',
    options: {},
    approvals: [],
    ...overrides,
  };
  return signArtifact(unsigned, signer, now);
}
