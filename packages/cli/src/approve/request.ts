import {
  type Approvers,
  parseSignedApproval,
  type SignedApproval,
  type SignedSubject,
  submissionContentSha256,
  verifyApproval,
} from '@csc-fleet/common/approval';
import { argvs, type CommandContract, contractSha256, parseContract } from '@csc-fleet/common/contract';
import { type Evaluation, evaluate, type WantedApprovals, wantedApprovals } from '@csc-fleet/common/decision';
import { artifactBytes, parseStrictJson } from '@csc-fleet/common/encoding';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import { openSubmission } from '@csc-fleet/common/evidence';
import type { ApprovalsGetResponse, PendingApproval } from '@csc-fleet/common/messages';
import { type PolicyDocument, policyFromJson, submitterKeys } from '@csc-fleet/common/policy';
import { type OwnersFiles, readOwnersFiles, workspaceFiles } from '@csc-fleet/common/policy-repository';
import { parseSubmission, type Submission } from '@csc-fleet/common/submission';

/** What somebody is asked to agree to, as far as it is known here; nothing of it is the gate's word but what says so. */
export interface ApprovalRequest {
  readonly executionId: string;
  readonly contract: CommandContract;
  /** Of the contract that is shown, as it is reckoned here. */
  readonly contractSha256: string;
  /** Absent: nobody has signed what was submitted. */
  readonly submission?: Submission;
  /** Who asks. */
  readonly principal: string;
  /**
   * `signed`: by a key that the owners name. `unverified`: it is not known here whose the key is. `gate`: nobody has
   * signed it.
   */
  readonly principalBy: 'signed' | 'unverified' | 'gate';
  /** The profile by which it is evaluated here; its hash is what is signed. */
  readonly policy: PolicyDocument;
  /** `owners`: it is the one of the owners' files here. */
  readonly policyBy: 'owners' | 'gate';
  /** By that policy, here. */
  readonly evaluation: Evaluation;
  readonly policyVersion?: number;
  readonly trustDomain: string;
  readonly pending: PendingApproval;
  /** What counts so far; only with the owners' files is it known who signed it. */
  readonly reviews: readonly Review[];
  /** Absent: nothing of this kind was approved before, says the gate. */
  readonly last?: {
    readonly contract: CommandContract;
    readonly executionId: string;
    readonly at: Date | undefined;
  };
  /** What does not fit together, each for people: whoever agrees should know why. */
  readonly doubts: readonly string[];
}

/** What somebody has said already. */
export interface Review {
  readonly approval: SignedApproval;
  /** Undefined: it is not known here whose the key is. */
  readonly verified: boolean | undefined;
}

/** The owners' files as they lie in this directory, which csc policy init or a copy of it has made. Throws POLICY_INVALID. */
export function readOwners(directory: string): OwnersFiles {
  try {
    return readOwnersFiles(workspaceFiles(directory));
  } catch (error) {
    if (isCscError(error)) throw error;
    const message = `--owners: ${directory} is no policy repository, as csc policy init makes one`;
    throw new CscError('FILE_UNREADABLE', message, { cause: error });
  }
}

/**
 * Makes what is shown and signed of a gate's answer. Everything that can be reckoned here is, from the bytes that will be shown:
 * the hash, the findings, the submission's signature. Throws CONTRACT_HASH_MISMATCH, EXECUTION_UNKNOWN, SUBMISSION_INVALID and
 * POLICY_INVALID where the gate's answer contradicts itself: nothing is to be signed for then.
 */
export function readRequest(
  answer: ApprovalsGetResponse,
  named: string,
  owners: OwnersFiles | undefined,
  now: Date,
): ApprovalRequest {
  const { pending } = answer;
  const execution = pending?.execution;
  if (
    pending === undefined ||
    execution === undefined ||
    !execution.executionId.startsWith(named.toLowerCase())
  )
    throw new CscError(
      'EXECUTION_UNKNOWN',
      `the gate gave another execution than one that begins with ${named}`,
    );
  const contract = orThrow(
    parseContract(answer.contractJson),
    'CONTRACT_INVALID',
    'the contract that the gate shows',
  );
  const sha256 = contractSha256(contract);
  if (execution.contractSha256.toLowerCase() !== sha256)
    throw new CscError(
      'CONTRACT_HASH_MISMATCH',
      `the gate shows a contract of sha256 ${sha256} for an execution of ${execution.contractSha256}`,
    );
  const policy = readPolicy(answer, execution.policyProfile);
  const asked = readSubmission(answer, { sha256, owners, now, principal: execution.principal });
  const own = owners?.policies.byName(policy.policy.name);
  const { submission } = asked;
  const terminal = submission?.options.terminal !== undefined;
  const evaluation = evaluate(contract, policy, undefined, { terminal });
  const last = readLast(answer);
  const principal = submission?.principal ?? execution.principal;
  const subject = {
    trustDomain: answer.trustDomain,
    contractSha256: sha256,
    policyProfile: policy.policy.name,
    policySha256: policy.sha256,
    policyVersion: answer.policyVersion,
    principal,
    submissionSha256: submission === undefined ? undefined : submissionContentSha256(submission),
    submitterKeys: keysOf(owners, principal),
    submissionKeysOf: (of: string) => keysOf(owners, of),
    now,
  };
  return {
    executionId: execution.executionId,
    contract,
    contractSha256: sha256,
    ...(submission === undefined ? {} : { submission }),
    principal,
    principalBy: asked.by,
    policy,
    policyBy: own?.sha256 === policy.sha256 ? 'owners' : 'gate',
    evaluation,
    ...(answer.policyVersion === undefined ? {} : { policyVersion: answer.policyVersion }),
    trustDomain: answer.trustDomain,
    pending,
    reviews: answer.approvalsJson.flatMap((text) =>
      readReview(text, owners?.approvers, wantedApprovals(contract, policy), subject),
    ),
    ...(last === undefined ? {} : { last }),
    doubts: [
      ...asked.doubts,
      ...doubtPolicy(policy, own?.sha256, owners),
      ...doubtVerdict(answer, evaluation),
      ...doubtProfile(submission, policy),
    ],
  };
}

/** Of what a person signs for: the submission that was shown, or every one that says the same. */
export function submissionHashOf({ submission }: Pick<ApprovalRequest, 'submission'>): string | undefined {
  return submission === undefined ? undefined : submissionContentSha256(submission);
}

function readPolicy({ policyJson }: ApprovalsGetResponse, profile: string): PolicyDocument {
  const json = parseStrictJson(policyJson, { maxBytes: artifactBytes.policy });
  const policy = orThrow(
    json.ok ? policyFromJson(json.value) : json,
    'POLICY_INVALID',
    'the policy that the gate shows',
  );
  if (policy.policy.name === profile) return policy;
  const message = `the gate shows the policy ${JSON.stringify(policy.policy.name)} for ${JSON.stringify(profile)}`;
  throw new CscError('POLICY_INVALID', message);
}

interface SubmissionAsked {
  readonly sha256: string;
  readonly owners: OwnersFiles | undefined;
  readonly now: Date;
  /** As the gate says. */
  readonly principal: string;
}

function readSubmission(
  { submissionJson, trustDomain }: ApprovalsGetResponse,
  { sha256, owners, now, principal }: SubmissionAsked,
): {
  readonly submission?: Submission;
  readonly by: ApprovalRequest['principalBy'];
  readonly doubts: readonly string[];
} {
  if (submissionJson.length === 0) {
    const doubt = 'nobody has signed the submission: that it is the principal who asks is the gate’s word';
    return { by: 'gate', doubts: [doubt] };
  }
  const submission = orThrow(
    parseSubmission(submissionJson),
    'SUBMISSION_INVALID',
    'the submission that the gate shows',
  );
  if (submission.contract_sha256.toLowerCase() !== sha256)
    throw new CscError('CONTRACT_HASH_MISMATCH', 'the submission that the gate shows is of another contract');
  if (submission.principal !== principal)
    throw new CscError(
      'SUBMISSION_INVALID',
      `the gate says that ${principal} asks, and ${submission.principal} signed`,
    );
  if (owners === undefined) {
    const doubt = 'whose key signed the submission is not known here: --owners names the owners’ files';
    return { submission, by: 'unverified', doubts: [doubt] };
  }
  if (submission.token_sha256 !== undefined) {
    const doubt =
      'a CI job asks, by a token that hosts alone are shown: that it is this job’s is not known here';
    return { submission, by: 'unverified', doubts: [doubt] };
  }
  // Throws where it is not what it seems: a gate that shows such a thing has made it up.
  openSubmission(submissionJson, {
    keysOf: (of) => submitterKeys(owners.bindings, of),
    trustDomain,
    now,
    contractSha256: sha256,
  });
  return { submission, by: 'signed', doubts: [] };
}

function readLast(answer: ApprovalsGetResponse): ApprovalRequest['last'] | undefined {
  if (answer.lastApprovedContractJson.length === 0) return undefined;
  const contract = parseContract(answer.lastApprovedContractJson);
  if (!contract.ok) return undefined;
  return { contract: contract.value, executionId: answer.lastApprovedExecutionId, at: answer.lastApprovedAt };
}

// By the owners' files it is held against all that a host holds it against: what somebody has signed of something else is no
// agreement to this, however good the signature is.
function readReview(
  text: Uint8Array,
  approvers: Approvers | undefined,
  wanted: WantedApprovals,
  subject: Omit<SignedSubject, 'approvers'>,
): Review[] {
  const read = parseSignedApproval(text);
  if (!read.ok) return [];
  const approval = read.value;
  if (approvers === undefined) return [{ approval, verified: undefined }];
  try {
    verifyApproval(approval, wanted, { ...subject, approvers });
    return [{ approval, verified: true }];
  } catch (error) {
    if (isCscError(error)) return [{ approval, verified: false }];
    throw error;
  }
}

function keysOf(owners: OwnersFiles | undefined, principal: string): Uint8Array[] {
  const keys = owners === undefined ? undefined : submitterKeys(owners.bindings, principal);
  return (keys?.entries() ?? []).map((it) => it.publicKey);
}

function doubtPolicy(
  policy: PolicyDocument,
  own: string | undefined,
  owners: OwnersFiles | undefined,
): string[] {
  if (owners === undefined || own === policy.sha256) return [];
  const name = JSON.stringify(policy.policy.name);
  return own === undefined
    ? [`the owners’ files here have no policy ${name}`]
    : [
        `the policy ${name} is another one than that of the owners’ files here: sha256 ${policy.sha256}, not ${own}`,
      ];
}

function doubtVerdict({ decision }: ApprovalsGetResponse, { verdict, findings }: Evaluation): string[] {
  if (verdict !== 'needs_approval')
    return [`by the policy that the gate shows, this is no matter of approval: ${verdict}`];
  const told = new Set(decision?.findings.map((it) => `${it.reasonCode} ${it.member}`));
  const missing = findings.filter((it) => !told.has(`${it.reasonCode} ${it.member}`));
  return missing.length === 0 ? [] : [`the gate keeps ${missing.length} of the findings below to itself`];
}

function doubtProfile(submission: Submission | undefined, { policy }: PolicyDocument): string[] {
  const { policy_profile: asked } = submission ?? {};
  if (asked === undefined || asked === policy.name) return [];
  return [
    `the submitter asks for the policy ${JSON.stringify(asked)}, and the gate decides by ${JSON.stringify(policy.name)}`,
  ];
}

/** What makes one ask twice, each in a few words: nothing for what is not dangerous. */
export function findDangers({
  contract,
  evaluation,
}: Pick<ApprovalRequest, 'contract' | 'evaluation'>): string[] {
  const { commands, risk_class: risk } = contract;
  const secrets = [...new Set(commands.flatMap(({ secret_refs }) => secret_refs))];
  const effects = new Set([
    ...evaluation.classifiedEffects.map((it) => it.effect_type),
    ...commands.map((it) => it.proposed_effect_type),
  ]);
  const dangerous = ['deploy', 'financial_action', 'touch_secrets'].filter((it) => effects.has(it));
  return [
    ...(risk === 'critical' || risk === 'high' ? [`risk ${risk}`] : []),
    ...(secrets.length === 0 ? [] : [`the secrets ${secrets.join(', ')}`]),
    ...(dangerous.length === 0 ? [] : [`effect ${dangerous.join(', ')}`]),
    ...(commands.some(({ network }) => network === 'full') ? ['the whole network'] : []),
  ];
}

/** Which programs it runs, for one line. */
export function programsOf({ commands }: CommandContract): string {
  return [...new Set(commands.flatMap((it) => argvs(it)).map(([program = '']) => program))].join(', ');
}
