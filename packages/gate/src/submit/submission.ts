import { CscError, orThrow } from '@csc-fleet/common/errors';
import { identifySubmission } from '@csc-fleet/common/evidence';
import { openToken } from '@csc-fleet/common/issuer-keys';
import type { SubmitRequest } from '@csc-fleet/common/messages';
import type { IssuerKeys, OpenedToken } from '@csc-fleet/common/oidc';
import { type Bindings, submitterKeys } from '@csc-fleet/common/policy';
import { parseSubmission } from '@csc-fleet/common/submission';
import type { Principal } from '../execution/executions.ts';
import { type HeldSubmission, holdSubmission } from '../execution/submission-of.ts';
import type { Owners } from '../owners/index.ts';

export interface SubmissionRules {
  readonly bindings: Bindings;
  readonly owners: Pick<Owners, 'issuers'>;
  readonly issuerKeys: IssuerKeys;
  /** The gate's own. */
  readonly trustDomain: string;
  /** Whether a request without one is refused, whatever hosts ask for. */
  readonly requireSignedSubmissions: boolean;
}

/** By whom and with what it was handed in. */
export interface Handed {
  readonly principal: Principal;
  readonly contractSha256: string;
  /** The token that came with it, opened, or why it cannot be. Undefined: none came. */
  readonly token: OpenedToken | CscError | undefined;
  readonly now: Date;
}

/** The token of a request, opened, or why it cannot be; undefined where none came. */
export async function openHandedToken(
  text: string,
  { owners, issuerKeys }: Pick<SubmissionRules, 'owners' | 'issuerKeys'>,
): Promise<Handed['token']> {
  return text === '' ? undefined : openToken(text, owners.issuers(), issuerKeys);
}

/**
 * The submission that a request carries, which hosts will read once more and believe instead of this gate: what is
 * refused here is only refused sooner. Undefined where there is none. Where the bindings name no key of the
 * caller, there is nothing to verify it with: it is passed on, so that who has a key before the owners have published it
 * goes on as before wherever hosts let that be. Throws as openSubmission does, and SUBMISSION_INVALID where there
 * must be one, and for another principal's.
 */
export function takeSubmission(
  { submissionJson }: Pick<SubmitRequest, 'submissionJson'>,
  handed: Handed,
  rules: SubmissionRules,
): HeldSubmission | undefined {
  if (submissionJson.length > 0) return openHandedIn(submissionJson, handed, rules);
  if (!rules.requireSignedSubmissions) return undefined;
  throw invalid('this gate takes signed submissions only: make a key with csc login, and submit with it');
}

/** The same of one that is there. */
export function openHandedIn(
  submissionJson: Buffer,
  { principal, contractSha256, token, now }: Handed,
  { bindings, trustDomain, owners, requireSignedSubmissions }: SubmissionRules,
): HeldSubmission {
  const issuers = owners.issuers();
  const isVerified =
    requireSignedSubmissions ||
    token !== undefined ||
    submitterKeys(bindings, principal.uri) !== undefined ||
    namesToken(submissionJson);
  const keysOf = (it: string) => submitterKeys(bindings, it);
  const { submission, identity } = isVerified
    ? identifySubmission(submissionJson, { keysOf, token, issuers, trustDomain, now, contractSha256 })
    : {
        submission: orThrow(parseSubmission(submissionJson), 'SUBMISSION_INVALID', 'the submission'),
        identity: undefined,
      };
  // Whoever overhears a submission must not hand it in before its submitter does: the execution would be theirs.
  if (submission.principal !== principal.uri)
    throw invalid(`the submission is of ${submission.principal}, and ${principal.uri} has handed it in`);
  return holdSubmission(submissionJson.toString('utf8'), submission, identity);
}

// Whose key it is, is for the token to say, and never unknown yet.
function namesToken(submissionJson: Buffer): boolean {
  const parsed = parseSubmission(submissionJson);
  return parsed.ok && parsed.value.token_sha256 !== undefined;
}

function invalid(message: string): CscError {
  return new CscError('SUBMISSION_INVALID', message);
}
