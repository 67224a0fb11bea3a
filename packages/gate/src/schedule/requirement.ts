import { toIdentityUri } from '@csc-fleet/common/identity';
import { type HeldSubmission, submissionOf } from '../execution/submission-of.ts';
import type { NewExecution } from '../store/tables.ts';

/** What an execution needs of its executor. */
export interface Requirement {
  /** Labels, all of them needed. */
  readonly selector: Readonly<Record<string, string>>;
  readonly policySha256: string;
  readonly policyProfile: string;
  readonly principal: string;
  /** The one executor that the submission names, its whole SPIFFE id. Absent: any. */
  readonly executorId?: string;
  /** Its submission is signed with the key of a token, which older hosts do not know. Absent: it is not. */
  readonly byToken?: boolean;
}

/** What the execution of a row needs. */
export function requirementOf(
  row: Pick<
    NewExecution,
    'selector_json' | 'policy_sha256' | 'policy_profile' | 'principal' | 'submission_json'
  >,
): Requirement {
  const own = {
    selector: JSON.parse(row.selector_json) as Record<string, string>,
    policySha256: row.policy_sha256,
    policyProfile: row.policy_profile,
    principal: row.principal,
  };
  return withSubmission(own, submissionOf(row));
}

/** The same with what its submission says; undefined: there is none. */
export function withSubmission(
  requirement: Requirement,
  held: Pick<HeldSubmission, 'submission'> | undefined,
): Requirement {
  const { trust_domain: domain, executor_id: name } = held?.submission.audience ?? {};
  return {
    ...requirement,
    ...(domain === undefined || name === undefined
      ? {}
      : { executorId: toIdentityUri(domain, 'executor', name) }),
    byToken: held?.submission.token_sha256 !== undefined,
  };
}
