import { randomBytes } from 'node:crypto';
import type { GateClient } from '@csc-fleet/client';
import {
  maxBreakGlassSec,
  parseBreakGlass,
  parseSignedApproval,
  signApproval,
  signBreakGlass,
  type UnsignedApproval,
  type UnsignedBreakGlass,
} from '@csc-fleet/common/approval';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, openings, orThrow } from '@csc-fleet/common/errors';
import type { ApprovalsGetResponse, ReviewResponse } from '@csc-fleet/common/messages';
import { readOwnIdentity } from '@csc-fleet/common/rpc';
import { type GateOptions, resolveGate } from '../connect/gate-options.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { stateName } from '../show/messages-json.ts';
import { ask } from '../terminal/ask.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { type ApproverKeyChoice, checkSigned, keyIdOf, openApproverKey } from './approver-key.ts';
import { describeRequest, missingOf } from './describe.ts';
import { type ApprovalRequest, findDangers, readOwners, readRequest, submissionHashOf } from './request.ts';

/** What a command line says of one review. */
export interface ReviewOptions extends GateOptions {
  /** Which private key signs the approval; `key` is that of the certificate. */
  readonly approverKey?: string;
  readonly owners?: string;
  readonly group?: string;
  readonly scope?: 'single_execution' | 'time_window';
  /** Milliseconds. */
  readonly expires?: number;
  readonly ticket?: string;
  readonly reason?: string;
  readonly anySubmission?: true;
  /** Where what was signed is written, too, for further submissions of it. */
  readonly out?: string;
}

export type ReviewKind = 'approve' | 'reject' | 'break_glass';

const hourMs = 3_600_000;

/**
 * Shows one execution that waits, asks on the terminal, signs, and hands the artifact in. Undefined: it was not agreed to, which
 * is said. Rejects with CONFIG_INVALID where there is no terminal: what a program can answer, nobody has read.
 */
export async function reviewExecution(
  client: Pick<GateClient, 'approvals'>,
  named: string,
  kind: ReviewKind,
  options: ReviewOptions,
): Promise<ReviewResponse | undefined> {
  refuseWithoutTerminal(kind);
  checkOut(options);
  const identity = readOwnIdentity(resolveGate(options, process.env).tls.cert, 'client').uri;
  const owners = options.owners === undefined ? undefined : readOwners(options.owners);
  const answer = await client.approvals.get(named);
  const now = new Date();
  const request = readRequest(answer, named, owners, now);
  const key = await openApproverKey(options.approverKey ?? process.env['CSC_APPROVER_KEY'] ?? 'agent');
  const facts = { request, identity, kind, answer, options };
  // Before anybody reads anything: what cannot be signed for is not asked about.
  const group = chooseGroup(facts);
  const submission = submissionFor(facts);
  const keyId = keyIdOf(key, identity, owners?.approvers?.find(identity), answer.keyIds);
  refuseAgain(facts);
  const paint = createPaint(process.stdout);
  const columns = process.stdout.columns ?? 0;
  await writeOut(`${describeRequest(request, { paint, columns, now })}\n\n`);
  note(plainLine(`csc: you are ${identity}, for ${group}, with ${key.place} (${keyId})`));
  if (!(await agrees(request, kind))) {
    note('csc: nothing was signed');
    return undefined;
  }
  const signed = await sign({ ...facts, group, submission, key: { choice: key, id: keyId } }, new Date());
  const { out } = options;
  // Before it counts anywhere: who cannot have the file is told while nothing has happened.
  if (out !== undefined) writeFileWhole(out, signed, 0o600);
  const reviewed = await client.approvals.review(request.executionId, signed);
  if (out !== undefined)
    note(plainLine(`csc: in ${out}, for who submits the same again: csc submit --approval ${out}`));
  return reviewed;
}

// The gate takes one verdict of each person that counts; it is asked for the other all the same.
function refuseAgain({ kind, answer, identity, options }: Facts): void {
  if (kind !== 'approve' || answer.pending?.reviewed !== true || options.out !== undefined) return;
  throw new CscError('APPROVAL_INVALID', `${identity} has agreed already, and is counted once`);
}

// What is good for this one alone is with the gate, and of no use to any other.
function checkOut({ out, scope, anySubmission }: ReviewOptions): void {
  if (out === undefined || (scope === 'time_window' && anySubmission === true)) return;
  const message =
    '--out is for an approval of further submissions: say --scope time_window --any-submission, too, or leave it out';
  throw new CscError('CONFIG_INVALID', message);
}

function refuseWithoutTerminal(kind: ReviewKind): void {
  if (process.stdin.isTTY && process.stdout.isTTY && process.stderr.isTTY) return;
  const what = kind.replace('_', '-');
  const message = `csc ${what} asks a person, who must see all of it: it needs a terminal for its input and its output, and takes no answer from a pipe or a file`;
  throw new CscError('CONFIG_INVALID', message);
}

interface Facts {
  readonly request: ApprovalRequest;
  readonly identity: string;
  readonly kind: ReviewKind;
  readonly answer: ApprovalsGetResponse;
  readonly options: ReviewOptions;
}

function chooseGroup({ kind, answer, options, identity }: Facts): string {
  const groups = kind === 'break_glass' ? answer.breakGlassGroups : answer.groups;
  const [first, ...more] = groups;
  if (options.group !== undefined) {
    if (groups.includes(options.group)) return options.group;
    throw notPermitted(
      `${identity} is not asked as a member of ${options.group}: ${groups.join(', ') || 'of no group at all'}`,
    );
  }
  if (first === undefined) {
    const what = kind === 'break_glass' ? 'may break the glass' : 'is asked here';
    const may =
      kind !== 'break_glass' && answer.breakGlassGroups.length > 0
        ? `; ${answer.breakGlassGroups.join(', ')} may only have it run without approvals, in an emergency (csc break-glass)`
        : '';
    throw notPermitted(
      `${openings.notAsked}${identity} ${what}; the owners’ approvers.yaml says who is in which${may}`,
    );
  }
  if (more.length === 0) return first;
  throw new CscError(
    'CONFIG_INVALID',
    `say for which of your groups you speak: --group ${groups.join(' | ')}`,
  );
}

function submissionFor({ request, kind, options }: Facts): string {
  if (options.anySubmission === true && kind !== 'break_glass') return 'any';
  const own = submissionHashOf(request);
  if (own !== undefined) return own;
  if (kind === 'reject') return 'any';
  if (kind === 'break_glass')
    throw notPermitted('nobody has signed this submission: the glass is broken for signed ones only');
  const message =
    'nobody has signed this submission, so that an approval of it is one of every submission that its principal makes of the contract until it expires: say --any-submission if you mean that';
  throw new CscError('APPROVAL_INVALID', message);
}

const verbs = { approve: 'Approve', reject: 'Reject', break_glass: 'BREAK THE GLASS for' } as const;

/** Asks, and once more of what is dangerous. What was read is what is typed: the beginning of its hash. */
async function agrees(request: ApprovalRequest, kind: ReviewKind): Promise<boolean> {
  const begin = request.contractSha256.slice(0, 8);
  const question = `${verbs[kind]} this? Type ${begin}, as the sha256 above begins: `;
  if ((await ask(question)) !== begin) return false;
  if (kind === 'reject') return true;
  const dangers = findDangers(request);
  const glass =
    kind === 'break_glass' ? ['it runs without anybody else’s approval, and everybody is told'] : [];
  const doubts = request.doubts.length === 0 ? [] : [`what is doubted above (${request.doubts.length})`];
  const again = [...glass, ...dangers, ...(dangers.length + glass.length === 0 ? [] : doubts)];
  if (again.length === 0) return true;
  return (await ask(`${plainLine(`Once more: ${again.join('; ')}.`)} Type yes: `)) === 'yes';
}

interface SigningFacts extends Facts {
  readonly group: string;
  readonly submission: string;
  readonly key: { readonly choice: ApproverKeyChoice; readonly id: string };
}

async function sign(facts: SigningFacts, now: Date): Promise<Buffer> {
  const { kind, key } = facts;
  const signer = key.choice.signer(key.id);
  if (kind === 'break_glass') {
    const bytes = await signBreakGlass(toBreakGlass(facts, now), signer, now);
    checkSigned(orThrow(parseBreakGlass(bytes), 'APPROVAL_INVALID', 'the break-glass'), key.choice, now);
    return bytes;
  }
  const bytes = await signApproval(toApproval(facts, kind, now), signer, now);
  checkSigned(orThrow(parseSignedApproval(bytes), 'APPROVAL_INVALID', 'the approval'), key.choice, now);
  return bytes;
}

function toApproval(facts: SigningFacts, verdict: 'approve' | 'reject', now: Date): UnsignedApproval {
  const { submission, options } = facts;
  const { ticket, reason, scope = 'single_execution', expires = hourMs } = options;
  return {
    approval_version: 'csc.approval.v0.2',
    approval_id: randomBytes(16).toString('hex'),
    ...subjectOf(facts, now, expires),
    submission_sha256: submission,
    verdict,
    scope,
    ...(ticket === undefined ? {} : { ticket_id: ticket }),
    ...(reason === undefined ? {} : { reason }),
  };
}

function toBreakGlass(facts: SigningFacts, now: Date): UnsignedBreakGlass {
  const { submission, options, answer } = facts;
  const most = Math.min(answer.breakGlassMaxSec || maxBreakGlassSec, maxBreakGlassSec) * 1000;
  return {
    break_glass_version: 'csc.break_glass.v0.1',
    break_glass_id: randomBytes(16).toString('hex'),
    ...subjectOf(facts, now, Math.min(options.expires ?? most, most)),
    submission_sha256: submission,
    reason: options.reason ?? '',
  };
}

// The same for all that a person signs.
function subjectOf({ request, identity, group }: SigningFacts, now: Date, lifeMs: number) {
  const { contractSha256, policy, policyVersion, principal, trustDomain, submission } = request;
  const host = submission?.audience.executor_id;
  return {
    contract_sha256: contractSha256,
    policy_profile: policy.policy.name,
    policy_sha256: policy.sha256,
    ...(policyVersion === undefined ? {} : { policy_version: policyVersion }),
    principal,
    audience: { trust_domain: trustDomain, ...(host === undefined ? {} : { executor_id: host }) },
    approver: { identity, method: 'cli' as const },
    group,
    approved_at: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + lifeMs)),
  };
}

function notPermitted(message: string): CscError {
  return new CscError('NOT_PERMITTED', message);
}

const done = { approve: 'approved', reject: 'rejected', break_glass: 'the glass is broken' } as const;

/** What has come of it, as the gate says. */
export function tellReview({ pending, existing }: ReviewResponse, kind: ReviewKind): void {
  const { executionId = '', state = 0 } = pending?.execution ?? {};
  const missing = missingOf(pending?.quorum ?? []);
  const rest = kind === 'approve' && missing > 0 ? `; ${missing} more must agree` : '';
  const before = existing ? ', and was before' : '';
  note(plainLine(`csc: ${done[kind]}${before}; execution ${executionId} is ${stateName(state)}${rest}`));
}
