import { BoundedCache } from '@csc-fleet/common/crypto';
import type { TokenIdentity } from '@csc-fleet/common/oidc';
import { parseSubmission, type Submission, submissionSha256 } from '@csc-fleet/common/submission';
import type { NewExecution } from '../store/tables.ts';

/** A submission as it came, read once. */
export interface HeldSubmission {
  readonly submission: Submission;
  readonly text: string;
  /** Lower-case hex, of its canonical form. */
  readonly sha256: string;
  /** Whom the token named that came with it. Absent: none came, or it is read from the store. */
  readonly identity?: TokenIdentity | undefined;
}

// Of what is handed in, queued and placed about now; whatever is older is read once more.
const held = new BoundedCache<HeldSubmission | undefined>(256);

/** Holds what was read from this text, for whoever comes to its row later. */
export function holdSubmission(
  text: string,
  submission: Submission,
  identity?: TokenIdentity,
): HeldSubmission {
  const made = { submission, text, sha256: submissionSha256(submission), identity };
  held.get(text, () => made);
  return made;
}

/** The submission of a row; undefined where there is none. */
export function submissionOf({
  submission_json: text,
}: Pick<NewExecution, 'submission_json'>): HeldSubmission | undefined {
  if (text === null || text === undefined) return undefined;
  return held.get(text, () => {
    // One that does not parse was never stored.
    const parsed = parseSubmission(Buffer.from(text));
    return parsed.ok ? holdSubmission(text, parsed.value) : undefined;
  });
}

/** What of a submission the owners may have revoked; nothing where there is none. */
export function revocable(held: HeldSubmission | undefined): Partial<Record<Revocable, string>> {
  if (held === undefined) return {};
  const { signature, nonce } = held.submission;
  return { keyId: signature.key_id, submissionSha256: held.sha256, submissionNonce: nonce };
}

type Revocable = 'keyId' | 'submissionSha256' | 'submissionNonce';

/** True where its submitter has yet to name the host that it was placed on. */
export function wantsBinding(row: Pick<NewExecution, 'submission_json' | 'binding'>): boolean {
  return row.binding === 'host' && submissionOf(row)?.submission.audience.executor_id === undefined;
}
