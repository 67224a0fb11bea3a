import { canonicalJson, earliest, parseTimestamp, toTimestamp } from '@csc-fleet/common/encoding';
import { quoteBriefly } from '@csc-fleet/common/errors';
import { type SubmitRequest, toMilliseconds } from '@csc-fleet/common/messages';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { type ReceiptVersion, receiptVersions } from '@csc-fleet/common/receipt';
import type { TerminalWish } from '@csc-fleet/common/schema';
import type { Submission } from '@csc-fleet/common/submission';
import type { Allowed, Approved } from '../approval/standing.ts';
import { requestInvalid } from '../bounds/index.ts';
import type { Principal } from '../execution/executions.ts';
import type { HeldSubmission } from '../execution/submission-of.ts';
import type { IdempotencyKey } from '../store/write-step.ts';

/** On what terms a contract is to run: what its request asks for beside it, read and checked. */
export interface Terms {
  /** Labels that its executor must have. */
  readonly selector: Readonly<Record<string, string>>;
  /** Undefined where the request names none. */
  readonly key: IdempotencyKey | undefined;
  /** Empty: the first that the caller is bound to. */
  readonly policyProfile: string;
  readonly receiptVersion: ReceiptVersion;
  /** How long it may wait for an executor, in milliseconds. Undefined: its policy says that. */
  readonly askedWaitMs: number | undefined;
  /** The longest that it may wait, whatever it asks for. */
  readonly longestWaitMs: number;
  /** That it is to run on. Undefined: it has none. */
  readonly terminal: TerminalWish | undefined;
  /** When it may begin at the latest, as its submission and the token that came with it have it. Undefined: no submission. */
  readonly startsBy: Date | undefined;
  /** For the host that runs it. Undefined where there is none. */
  readonly submission: HeldSubmission | undefined;
  /** The token that came with it, for that host. Empty: none. */
  readonly submissionToken: string;
}

/** What a request is read against. */
export interface Asked {
  readonly principal: Principal;
  /** Signed by the submitter, where there is one: then it says the terms, and the request may say the same. */
  readonly submission: HeldSubmission | undefined;
  readonly now: Date;
  readonly queueTimeoutSec: number;
}

/** Throws REQUEST_INVALID for a receipt version that there is not, and for what the submission says otherwise. */
export function readTerms(request: SubmitRequest, asked: Asked): Terms {
  const { principal, submission: held, now, queueTimeoutSec } = asked;
  const { selector, idempotencyKey, policyProfile, options } = request;
  const longestWaitMs = queueTimeoutSec * 1000;
  const askedWaitMs = options?.queueTimeout === undefined ? undefined : toMilliseconds(options.queueTimeout);
  const terminal = readTerminal(request);
  const key = (text: string) => ({ principal: principal.uri, idempotency_key: text });
  if (held === undefined) {
    return {
      selector,
      key: idempotencyKey === '' ? undefined : key(idempotencyKey),
      policyProfile,
      receiptVersion: withTerminal(readReceiptVersion(options?.receiptVersion ?? ''), terminal),
      terminal,
      askedWaitMs,
      longestWaitMs,
      startsBy: undefined,
      submission: undefined,
      submissionToken: '',
    };
  }
  const { submission } = held;
  checkAgrees(request, terminal, submission);
  const startsBy = earliest(parseTimestamp(submission.expires_at) ?? now, held.identity?.startsBy);
  return {
    selector: submission.audience.selector,
    // Whoever hands it in again means the same run, and no host would start it a second time.
    key: key(submission.nonce),
    policyProfile: submission.policy_profile ?? '',
    receiptVersion: withTerminal(submission.receipt_version, submission.options.terminal),
    terminal: submission.options.terminal,
    askedWaitMs,
    longestWaitMs: Math.min(longestWaitMs, startsBy.getTime() - now.getTime()),
    startsBy,
    submission: held,
    submissionToken: request.submissionToken ?? '',
  };
}

// Two readers of one request must not understand two things: what is empty says nothing, and all else the same.
function checkAgrees(
  request: SubmitRequest,
  terminal: TerminalWish | undefined,
  submission: Submission,
): void {
  const { nonce, policy_profile = '', receipt_version, audience } = submission;
  const hasSelector = Object.keys(request.selector).length > 0;
  const members = [
    ['idempotency_key', request.idempotencyKey, nonce],
    ['selector', hasSelector ? canonicalJson(request.selector) : '', canonicalJson(audience.selector)],
    ['policy_profile', request.policyProfile, policy_profile],
    ['options.receipt_version', request.options?.receiptVersion ?? '', receipt_version],
    ['options.terminal', terminalText(terminal), terminalText(submission.options.terminal)],
  ] as const;
  for (const [member, asked, signed] of members)
    if (asked !== '' && asked !== signed)
      throw requestInvalid(member, 'says otherwise than the submission: leave it out, or sign the same');
}

function terminalText(terminal: TerminalWish | undefined): string {
  return terminal === undefined ? '' : canonicalJson(terminal);
}

function readTerminal({ options }: SubmitRequest): TerminalWish | undefined {
  if (options?.terminal === undefined) return undefined;
  const { size, type, inputKey } = options.terminal;
  // It is there: bounds/ lets nothing else through.
  const { columns = 0, rows = 0 } = size ?? {};
  return { columns, rows, type, input_key: inputKey.toString('base64') };
}

// A receipt of v0.1 has no word for what a terminal showed.
function withTerminal(version: ReceiptVersion, terminal: TerminalWish | undefined): ReceiptVersion {
  if (terminal === undefined || version === 'csc.receipt.v0.2') return version;
  throw requestInvalid('options.terminal', 'takes a receipt of version csc.receipt.v0.2');
}

function readReceiptVersion(asked: string): ReceiptVersion {
  if (asked === '') return 'csc.receipt.v0.2';
  const version = receiptVersions.find((it) => it === asked);
  if (version !== undefined) return version;
  const problem = `${quoteBriefly(asked)} is not one of ${receiptVersions.join(', ')}`;
  throw requestInvalid('options.receipt_version', problem);
}

/** How long it may wait for an executor, in milliseconds: as its submitter asks, or else as its policy has it. */
export function queueWaitMs({ askedWaitMs, longestWaitMs }: Terms, { policy }: PolicyDocument): number {
  const { queue_timeout_sec: usual } = policy;
  const wanted = askedWaitMs ?? (usual === undefined ? longestWaitMs : usual * 1000);
  return Math.max(0, Math.min(wanted, longestWaitMs));
}

/** The time by which it must have been placed, as stored. */
export function queueDeadline(
  terms: Terms,
  policy: PolicyDocument,
  standing: Allowed | Approved,
  now: Date,
): string {
  const latest = now.getTime() + queueWaitMs(terms, policy);
  // No host starts what people's consent has run out of.
  const until = standing.is === 'approved' ? standing.until.getTime() : latest;
  return toTimestamp(new Date(Math.min(latest, until)));
}
