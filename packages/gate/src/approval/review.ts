import { type AnyApproval, approvalSha256, parseAnyApproval, toConsumed } from '@csc-fleet/common/approval';
import { type Clock, earliest, parseTimestamp, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { ExecutionState } from '@csc-fleet/common/messages';
import type { LogMessage } from '@csc-fleet/common/service';
import type { Happening, LiveExecution } from '../execution/execution.ts';
import type { Finisher } from '../execution/finisher.ts';
import { fromStoredApprovals, toStoredApprovals } from '../execution/row.ts';
import { submissionOf } from '../execution/submission-of.ts';
import type { ExecutionRow } from '../store/tables.ts';
import { describeMissing, type Looked, type PendingPorts, toApprovable } from './pending.ts';
import { consentEnds, countFor } from './standing.ts';

type Row = ExecutionRow;

export interface ReviewPorts extends PendingPorts {
  readonly finisher: Pick<Finisher, 'unstarted'>;
  readonly scheduler: {
    queuedEvent(row: Row, reason?: string): Happening;
    enqueue(execution: LiveExecution): void;
  };
  readonly limits: { readonly queueTimeoutSec: number };
  readonly storedBytesPerDay: (principal: string) => number;
  readonly clock: Clock;
  /** Told of a break-glass that counts. */
  readonly onWarning: (message: LogMessage<'warn'>, details: Readonly<Record<string, string>>) => void;
  /** Told of each verdict that counts. */
  readonly reviewed?: (verdict: Verdict, execution: LiveExecution, by: Reviewer) => void;
}

/** Whose verdict it is. */
interface Reviewer {
  readonly approver: string;
  readonly group: string;
  readonly approvalId: string;
}

type Verdict = 'approve' | 'reject' | 'break_glass';

/** A verdict, of which it is known that it counts. */
interface Counted {
  readonly given: AnyApproval & { readonly kind: 'signed' | 'break_glass' };
  /** All that counts, it among them; canonical JSON. */
  readonly texts: readonly Buffer[];
  readonly isGiven: boolean;
  readonly usedUp: readonly string[];
  /** When they count no more. */
  readonly until: Date;
  readonly missing: string;
}

/**
 * Takes what a person has signed of an execution that waits: it is counted anew with all that was given before, and what that
 * comes to is on disk once this resolves. It is queued, ended, or waits on. Hosts count for themselves. True where the same has
 * come before. Throws APPROVAL_INVALID, STORE_UNAVAILABLE.
 * @param identity of who hands it in, as the connection says: nobody hands in what another has signed
 */
export async function review(
  ports: ReviewPorts,
  looked: Looked,
  identity: string,
  artifactJson: Buffer,
): Promise<boolean> {
  const { execution } = looked;
  const given = readSigned(artifactJson, identity);
  await untilFree(execution);
  if (isStored(execution.row, given)) return true;
  checkWaits(execution);
  const now = ports.clock.now();
  checkNotExpired(execution.row, now);
  const counted = count(ports, looked, given, now);
  const rejection = given.kind === 'signed' && given.artifact.verdict === 'reject';
  if (rejection) await reject(ports, execution, counted);
  else if (counted.isGiven) await approve(ports, looked, counted, now);
  else await execution.hear(now, changeOf(counted), [toReviewed(counted)]);
  const { approver, group } = given.artifact;
  ports.reviewed?.(verdictOf(given), execution, {
    approver: approver.identity,
    group,
    approvalId: given.id,
  });
  if (given.kind === 'break_glass') tellBroken(ports, execution, given.artifact);
  return false;
}

// Two people at once: the second is counted on top of the first.
async function untilFree(execution: LiveExecution): Promise<void> {
  const late = AbortSignal.timeout(5000);
  while (
    execution.row.state === ExecutionState.AWAITING_APPROVAL &&
    !execution.awaitsApproval &&
    !late.aborted
  )
    await execution.changed(late);
}

function readSigned(artifactJson: Buffer, identity: string): Counted['given'] {
  const read = orThrow(parseAnyApproval(artifactJson), 'APPROVAL_INVALID', 'the artifact');
  if (read.kind === 'unsigned') {
    const message = 'nobody has signed it (csc.approval.v0.1): csc approve signs with a key of yours';
    throw new CscError('APPROVAL_INVALID', message);
  }
  const { identity: signed } = read.artifact.approver;
  if (signed === identity) return read;
  const message = `it is signed as ${signed}, and ${identity} has handed it in: each person hands in their own`;
  throw new CscError('APPROVAL_INVALID', message);
}

// The same artifact, however it was written.
function isStored({ approvals_json: stored }: Row, given: AnyApproval): boolean {
  const sha256 = approvalSha256(given);
  return fromStoredApprovals(stored).some((text) => {
    const known = parseAnyApproval(text);
    return known.ok && approvalSha256(known.value) === sha256;
  });
}

function checkWaits({ row, awaitsApproval }: LiveExecution): void {
  if (awaitsApproval) return;
  if (row.state === ExecutionState.AWAITING_APPROVAL)
    throw new CscError('APPROVAL_INVALID', 'somebody else’s verdict on it is being written down: try again');
  const how =
    row.state === ExecutionState.EXPIRED
      ? `it has expired${row.ended_at === null ? '' : ` at ${row.ended_at}`}`
      : (stateNames.get(row.state) ?? 'it was approved already');
  throw new CscError('APPROVAL_INVALID', `it waits for no approval any more: ${how}`);
}

const stateNames: ReadonlyMap<number, string> = new Map([
  [ExecutionState.BLOCKED, 'it was rejected or refused'],
  [ExecutionState.CANCELLED, 'it was cancelled'],
]);

function checkNotExpired(row: Row, now: Date): void {
  if (now < new Date(row.decision_expires_at)) return;
  const message = `it comes too late: what it is for has waited until ${row.decision_expires_at}, and is submitted anew`;
  throw new CscError('APPROVAL_INVALID', message);
}

/** Throws APPROVAL_INVALID where it does not count. What counts no more of what was stored is dropped. */
function count(ports: ReviewPorts, looked: Looked, given: Counted['given'], now: Date): Counted {
  const approvable = toApprovable(looked);
  checkWanted(looked.execution.row, given);
  const stored = fromStoredApprovals(looked.execution.row.approvals_json);
  const before = countFor(approvable, stored, ports, now).counted;
  const kept = before.map(({ artifactJson = '' }) => Buffer.from(artifactJson)).filter((it) => it.length > 0);
  const text = Buffer.from(JSON.stringify(given.artifact));
  const texts = [...kept, text];
  const { consent, counted, objections, quorum = [], people = 1 } = countFor(approvable, texts, ports, now);
  if (consent === 'not_needed') throw new CscError('APPROVAL_INVALID', 'nobody needs to approve it');
  const [objection] = objections;
  if (consent !== 'rejected' && objection !== undefined) throw objection;
  return {
    given,
    texts,
    isGiven: consent === 'given',
    usedUp: toConsumed(counted).map(({ approvalId }) => approvalId),
    until: consent === 'given' ? consentEnds(approvable, { texts, counted }, ports, now) : now,
    missing: consent === 'missing' ? describeMissing(quorum, people) : '',
  };
}

// No host would take another one.
function checkWanted(row: Row, { id }: AnyApproval): void {
  const wanted = submissionOf(row)?.submission.approvals ?? [];
  if (wanted.length === 0 || wanted.includes(id)) return;
  throw new CscError('APPROVAL_INVALID', `its submitter wants no approvals but ${wanted.join(', ')}`);
}

function changeOf({ texts }: Counted): Pick<Row, 'approvals_json'> {
  return { approvals_json: toStoredApprovals(texts) };
}

function verdictOf(given: Counted['given']): Verdict {
  return given.kind === 'break_glass' ? 'break_glass' : given.artifact.verdict;
}

function toReviewed({ given, missing }: Counted): Happening {
  const { approver, group, reason = '' } = given.artifact;
  const value = {
    approver: approver.identity,
    group,
    verdict: verdictOf(given),
    reason,
    missing,
    approvalId: given.id,
  };
  return { $case: 'reviewed', value };
}

async function reject(ports: ReviewPorts, execution: LiveExecution, counted: Counted): Promise<void> {
  const { approver, group, reason = '' } = counted.given.artifact;
  const why = `${approver.identity} of the group ${group} has rejected it${reason === '' ? '' : `: ${reason}`}`;
  await ports.finisher.unstarted(execution, ExecutionState.BLOCKED, `APPROVAL_INVALID: ${why}`, undefined, {
    change: changeOf(counted),
    happened: [toReviewed(counted)],
  });
}

async function approve(
  { scheduler, limits, storedBytesPerDay }: ReviewPorts,
  { execution, policy }: Looked,
  counted: Counted,
  now: Date,
): Promise<void> {
  const { row } = execution;
  const change = {
    ...changeOf(counted),
    state: ExecutionState.QUEUED,
    queue_deadline: toTimestamp(
      earliest(
        queueDeadline(row, policy.policy.queue_timeout_sec, limits.queueTimeoutSec, now),
        counted.until,
      ),
    ),
  };
  const queued = scheduler.queuedEvent({ ...row, ...change }, 'approved');
  await execution.approve(now, {
    change,
    happened: [toReviewed(counted), queued],
    approvals: counted.usedUp,
    key: undefined,
    usage: {
      principal: row.principal,
      now,
      bytes: Buffer.byteLength(change.approvals_json),
      bytesPerDay: storedBytesPerDay(row.principal),
    },
  });
  scheduler.enqueue(execution);
}

// How long its submitter would have it wait was for then; when any host must have begun it still counts.
function queueDeadline(row: Row, usualSec: number | undefined, longestSec: number, now: Date): Date {
  const latest = new Date(now.getTime() + Math.min(usualSec ?? longestSec, longestSec) * 1000);
  return earliest(latest, parseTimestamp(row.queue_deadline ?? ''));
}

function tellBroken(
  { onWarning }: ReviewPorts,
  { id, row }: LiveExecution,
  {
    approver,
    group,
    reason,
    expires_at: until,
  }: Extract<Counted['given'], { kind: 'break_glass' }>['artifact'],
): void {
  const details = { executionId: id, approver: approver.identity, group, reason, until };
  onWarning('the glass was broken: an execution runs without its approvals', {
    ...details,
    principal: row.principal,
    profile: row.policy_profile,
  });
}
