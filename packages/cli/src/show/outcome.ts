import type { ExecutionResolution } from '@csc-fleet/client/offline';
import { type Decision, type Execution, ExecutionState, Verdict } from '@csc-fleet/common/messages';
import type { ExecutionReceipt } from '@csc-fleet/common/receipt';
import { adviceOn } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { formatDuration, type Paint, plainLine } from '../terminal/text.ts';
import { type DecisionView, describeDecision, groupsAsked } from './decision.ts';

/** How an execution stands at the end of a command that followed it. */
export interface Outcome {
  readonly executionId: string;
  readonly execution: Execution;
  readonly decision: Decision | undefined;
  /** Until when it can be agreed to, where more is known of that than the decision says. */
  readonly waitsUntil?: Date | undefined;
  readonly receipt: ExecutionReceipt | undefined;
  readonly receiptJson: Uint8Array;
  /** What `csc submit` ends with, as `csc help exit-codes` says. */
  readonly exitCode: number;
  /** What the gate said of the end, where the receipt says otherwise. */
  readonly contradiction?: string | undefined;
  /** That the owners have ended what is lost for good. */
  readonly resolution?: ExecutionResolution | undefined;
}

/** What a success is not enough without. */
export interface Wanted {
  /** All of its output. */
  readonly wholeOutput: boolean;
  /** Every expected output; a host that was asked for them says FAILED by itself. */
  readonly outputs: boolean;
}

/** What `csc submit` ends with: 0 only where there is all that was wanted. */
export function exitCodeFor({ exitCode, receipt }: Outcome, { wholeOutput, outputs }: Wanted): number {
  if (exitCode !== exitCodes.ok || receipt === undefined) return exitCode;
  if (outputs && 'artifacts_left_out' in receipt) return exitCodes.outputsMissing;
  const isCut = receipt.stdout_truncated === true || receipt.stderr_truncated === true;
  return wholeOutput && isCut ? exitCodes.outputCut : exitCode;
}

/** How it ended, for people: one line, and what to do where that helps. */
export function describeOutcome(outcome: Outcome, paint: Paint): string {
  const { execution, decision } = outcome;
  const isDenied = decision?.verdict === Verdict.DENY && execution.state === ExecutionState.BLOCKED;
  if (isDenied)
    return `${describeDecision(toDecisionView(decision), paint)}\nExecution ${plainLine(outcome.executionId)}`;
  if (execution.state === ExecutionState.AWAITING_APPROVAL && decision !== undefined) {
    return describeWaiting(execution, decision, paint, outcome.waitsUntil);
  }
  const { format, title, text } = describeEnd(outcome);
  const lines = [`${paint([format, 'bold'], title)} — ${plainLine(text)}`];
  if (execution.error !== '' && !text.includes(execution.error))
    lines.push(`  ${plainLine(execution.error)}`);
  const advice = execution.state === ExecutionState.BLOCKED ? adviceOn(execution.error) : undefined;
  if (advice !== undefined) lines.push(`What to do: ${plainLine(advice)}`);
  if (outcome.contradiction !== undefined) lines.unshift(describeContradiction(outcome.contradiction, paint));
  return lines.join('\n');
}

// Whoever watches the gate's events has been told something else.
function describeContradiction(said: string, paint: Paint): string {
  const title = paint(['red', 'bold'], 'WARNING');
  return `${title} — the gate said ${said}; the executor's signed receipt says otherwise, and that counts:`;
}

/** A gate's decision as `csc check` shows decisions. */
export function toDecisionView(decision: Decision): DecisionView {
  const verdicts = { [Verdict.ALLOW]: 'allow', [Verdict.NEEDS_APPROVAL]: 'needs_approval' } as const;
  const { verdict, reasons, findings, contractSha256, policyProfile } = decision;
  const known = verdict === Verdict.ALLOW || verdict === Verdict.NEEDS_APPROVAL ? verdicts[verdict] : 'deny';
  return { verdict: known, reasons, findings, contractSha256, policyProfile };
}

/** A decision that people are to agree to, and how its submitter waits for them. */
export function describeWaiting(
  { executionId, mustNameHost }: Pick<Execution, 'executionId' | 'mustNameHost'>,
  decision: Decision,
  paint: Paint,
  ends: Date | undefined = decision.expiresAt,
): string {
  const view = toDecisionView(decision);
  const id = plainLine(executionId);
  const until = ends === undefined ? '' : ` until ${ends.toISOString()}`;
  const unsigned = `: submit the same contract with --approval FILE, or, where the owners name approvers, they run csc approve ${id}`;
  return [
    describeDecision(view, paint, executionId),
    `Execution ${id} waits for it${until}${groupsAsked(view) === undefined ? unsigned : ''}.`,
    ...(endsSooner(ends, decision)
      ? [
          'What its submitter has signed ends then: csc submit --wait-for-approval TIME says how long it stands (24h at most).',
        ]
      : []),
    // Where a profile binds to a host, it expires soon after the last approval, if its submitter does not sign the host's name.
    mustNameHost === true
      ? `Stay with csc get ${id} --follow: it names the host once one is chosen, and without that it may expire as soon as they have agreed.`
      : `csc get ${id} --follow waits for them and shows the run, which needs nobody to stay.`,
  ].join('\n');
}

function endsSooner(ends: Date | undefined, { expiresAt }: Decision): boolean {
  return ends !== undefined && expiresAt !== undefined && ends < expiresAt;
}

interface End {
  readonly format: 'green' | 'red' | 'yellow';
  readonly title: string;
  readonly text: string;
}

function describeEnd({ execution, resolution }: Outcome): End {
  const { exitCode } = execution;
  const where = `${execution.executorId === '' ? '' : ` on ${execution.executorId}`}${elapsed(execution)}`;
  const exit = exitCode === undefined ? 'no exit code' : `exit code ${exitCode}`;
  switch (execution.state) {
    case ExecutionState.SUCCEEDED:
      return { format: 'green', title: 'SUCCESS', text: `${exit}${where}` };
    case ExecutionState.FAILED:
      return { format: 'red', title: 'FAILED', text: `${exit}${where}` };
    case ExecutionState.CANCELLED:
      return { format: 'yellow', title: 'CANCELLED', text: `${exit}${where}` };
    case ExecutionState.BLOCKED:
      return { format: 'yellow', title: 'BLOCKED', text: execution.error || 'nothing was run' };
    case ExecutionState.EXPIRED:
      return { format: 'yellow', title: 'EXPIRED', text: execution.error || 'it was not started in time' };
    case ExecutionState.LOST:
      if (resolution !== undefined)
        return { format: 'red', title: 'LOST', text: `for good${where}: ${execution.error}` };
      // Its executor is back, without it.
      if (execution.error.includes('csc admin resolve'))
        return { format: 'red', title: 'LOST', text: execution.error };
      return {
        format: 'red',
        title: 'LOST',
        text: `the executor is gone and has not said how it ended${where}; csc get ${execution.executionId} --follow tells once it is back; where it never comes back, an owner ends it: csc admin resolve ${execution.executionId} --reason TEXT`,
      };
    default:
      return { format: 'yellow', title: 'UNDECIDED', text: 'it has not ended' };
  }
}

function elapsed({ startedAt, endedAt }: Execution): string {
  if (startedAt === undefined || endedAt === undefined) return '';
  return ` in ${formatDuration(endedAt.getTime() - startedAt.getTime())}`;
}

/** How many bytes of each stream came out here. */
export interface Shown {
  stdout: number;
  stderr: number;
}

/**
 * A line for each stream of which the host kept a beginning only: whoever reads on takes the rest for absent. By the
 * receipt, as a gate may keep it to itself.
 * @param shown a v0.1 receipt does not say how long the beginning is
 */
export function describeCuts(receipt: ExecutionReceipt | undefined, shown: Shown): string[] {
  if (receipt === undefined) return [];
  if (receipt.receipt_version !== 'csc.receipt.v0.2') {
    return [
      ...(receipt.stdout_truncated === true ? [describeCut('stdout', shown.stdout)] : []),
      ...(receipt.stderr_truncated === true ? [describeCut('stderr', shown.stderr)] : []),
    ];
  }
  return receipt.commands.flatMap((it) => [
    ...(it.stdout_truncated === true ? [describeCut(`stdout of ${it.command_id}`, it.stdout_bytes)] : []),
    ...(it.stderr_truncated === true ? [describeCut(`stderr of ${it.command_id}`, it.stderr_bytes)] : []),
    ...(it.terminal_truncated === true ? [describeCut('its terminal', it.terminal_bytes ?? 0)] : []),
    ...(it.recording_truncated === true ? [describeCut('its recording', it.recording_bytes ?? 0)] : []),
  ]);
}

const mostNamed = 5;

/**
 * A line for the expected outputs that the receipt has no hash of, with the first few and why.
 * @param expected the contract's: a v0.1 receipt says nothing of those that are not in it. Absent: it is not known
 */
export function describeLeftOut(
  receipt: ExecutionReceipt | undefined,
  expected: readonly string[] = [],
): string[] {
  const leftOut = receipt && (findLeftOut(receipt) ?? missedIn(receipt, expected));
  if (leftOut === undefined || leftOut.count === 0) return [];
  const { count, first } = leftOut;
  const named = first
    .slice(0, mostNamed)
    .map(({ path, reason }) => `${path} (${toWords(path, reason, expected)})`);
  const more = count > named.length ? `, and ${count - named.length} more` : '';
  const what = count === 1 ? '1 expected output is' : `${count} expected outputs are`;
  return [plainLine(`csc: WARNING ${what} not in the receipt: ${named.join(', ')}${more}`)];
}

interface LeftOut {
  readonly count: number;
  readonly first: readonly { readonly path: string; readonly reason: string }[];
}

function findLeftOut(receipt: ExecutionReceipt): LeftOut | undefined {
  return receipt.receipt_version === 'csc.receipt.v0.2' ? receipt.artifacts_left_out : undefined;
}

// Of what ran; a pattern is missed where the receipt has no more than the plain ones.
function missedIn(receipt: ExecutionReceipt, expected: readonly string[]): LeftOut | undefined {
  if (receipt.receipt_version === 'csc.receipt.v0.2' || receipt.exit_code === undefined) return undefined;
  const paths = new Set((receipt.artifacts ?? []).map(({ path }) => path));
  const missed = expected.filter((path) => !paths.has(path));
  const others = paths.size - (expected.length - missed.length);
  const sure = others > 0 ? missed.filter((path) => !isPattern(path)) : missed;
  return { count: sure.length, first: sure.map((path) => ({ path, reason: 'no_hash' })) };
}

function isPattern(path: string): boolean {
  return /[*?[]|\/$/.test(path);
}

const leftOutWords: Readonly<Record<string, string>> = {
  missing: 'nothing is there',
  not_a_file: 'not a regular file; of a directory say its files, or all with a slash behind it',
  not_writable: 'outside of what its commands may write',
  unreadable: 'its user may not read it',
  artifact_bytes: 'more than artifact_bytes to hash',
  artifact_sec: 'no time left in artifact_sec to hash it',
  receipt_bytes: 'more than a receipt has room for',
  no_hash: 'missing, no regular file, or not to be read; a v0.2 receipt says which',
};

// A host finds a name that is not UTF-8 by a pattern only, shows it with U+FFFD, and finds nothing by what it shows.
function toWords(path: string, reason: string, expected: readonly string[]): string {
  if (reason === 'missing' && path.includes('\ufffd') && !expected.includes(path))
    return 'its name is not UTF-8, so it cannot be in a receipt';
  const isUnmatched = isPattern(path) && (reason === 'missing' || reason === 'not_a_file');
  return isUnmatched ? 'no file matches it' : (leftOutWords[reason] ?? reason);
}

/** @param bytes how much there is of it */
export function describeCut(stream: string, bytes: number): string {
  const count = bytes === 1 ? 'byte' : 'bytes';
  const what = `csc: WARNING ${stream} was cut after ${bytes} ${count}: it went over the limit, and the rest is lost`;
  return plainLine(
    `${what}. The receipt’s hash covers those ${bytes} ${count} and no more; --stdout-bytes and --stderr-bytes ask for more, up to what the policy (limits.stdout_bytes) and the host (ceiling.stdout_bytes, and so for stderr) both say`,
  );
}
