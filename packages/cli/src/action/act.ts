import {
  CscError,
  formatFaults,
  localCodes,
  logCodes,
  openings,
  readRefusal,
  reasons,
  rpcStatusOf,
  showInvisible,
  withoutSecrets,
} from '@csc-fleet/common/errors';
import type { Command } from 'commander';
import { isBrokenPipe, note, writeJson } from '../terminal/streams.ts';
import { createPaint } from '../terminal/text.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';

/** What a command does: resolves to its exit code. */
type Body<A extends readonly unknown[]> = (...args: A) => Promise<number> | number;

/**
 * A commander action of a body that gives the exit code, or throws and is reported here. A is the positional arguments
 * and then the options, as the command declares them.
 */
export function act<A extends readonly unknown[]>(command: Command, body: Body<A>): void {
  command.action(async (...args: unknown[]) => {
    try {
      // Commander appends the command itself.
      process.exitCode = await body(...(args.slice(0, -1) as unknown as A));
    } catch (error) {
      // How the command line is wrong has been said already.
      if (isCommanderError(error)) throw error;
      process.exitCode = await exitCodeOfFailure(error, command.opts()['json'] === true);
    }
  });
}

/** What a command ends with that has thrown something, which is told; where nobody reads, nothing is. */
export async function exitCodeOfFailure(error: unknown, json: boolean): Promise<number> {
  if (isBrokenPipe(error)) return exitCodes.brokenPipe;
  await reportError(error, json);
  return exitCodeOf(error);
}

/** Narrows to what commander throws; by its code, as the bundle may hold commander more than once. */
export function isCommanderError(error: unknown): error is Error & { exitCode: number } {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('commander.');
}

/** What to do about an error, where that is not plain from its message. */
const advice: Readonly<Partial<Record<CscError['code'], string>>> = {
  GATE_UNREACHABLE: 'check the address (--gate, CSC_GATE) and that the gate is running',
  DEADLINE_EXCEEDED: 'try again; if it stays so, look at the gate',
  NO_CREDENTIALS: 'give --cert and --key, or CSC_CERT and CSC_KEY',
  CREDENTIALS_INVALID:
    'get a client certificate of this gate’s CA (csc ca token where that is a csc ca, else csc pki issue)',
  NOT_PERMITTED:
    'change what the message names: in the contract, or in the policy where that is yours; in a fleet ask the owners, whose bindings.yaml says which profiles and secrets are yours (csc profiles)',
  SUBMISSION_INVALID:
    'change what the message names; where that is a key, csc login prints what the owners must have added to bindings.yaml',
  IDEMPOTENCY_CONFLICT: 'use another --idempotency-key for another contract',
  APPROVAL_INVALID: 'change what the message names; to agree anew to what waits: csc approve ID',
  NO_MATCHING_EXECUTOR:
    'ask for other labels, connect an executor that has these, or wait for one (--timeout-queue)',
  EXECUTION_UNKNOWN:
    'csc list shows your executions, at this gate and with this certificate; another’s are not shown. On a host, csc executor receipts list whose receipts it keeps',
  SANDBOX_UNAVAILABLE: 'mend on that host what the message names; csc doctor there says what else is missing',
  POLICY_UNSIGNED: 'have the owners sign it (csc policy sign), and give gate and host the same files',
  RATE_LIMITED: 'wait a moment',
  QUEUE_FULL: 'wait, or connect more executors',
  DRAINING: 'try again in a moment',
  STORE_UNAVAILABLE: 'try again; if it stays so, look at the disk of gate or host',
  INTERNAL: 'run it again with CSC_DEBUG=1; where a gate gave an id, its log has it',
  KEY_UNKNOWN:
    'give the key of the host that signed: --fleet-ca where the fleet’s CA certifies its hosts, else --keys with what csc executor keys --export writes there; a host that was set up anew has another key than before',
  RECEIPT_INVALID: 'do not count on what was shown; ask the owners of gate and host',
  RECEIPT_MISSING: 'ask the owner of the host how it ended; csc get ID --follow asks the gate once more',
  LOG_INVALID: plain(localCodes.LOG_INVALID.remedy),
  LOG_MISSING: plain(localCodes.LOG_MISSING.remedy),
};

const askForGroup =
  'ask the owners, who say there who is in which group (docs/approving.md); csc approvals shows what waits for you';

/** What to do, where the same code is about several things, and how the message begins tells which. */
const adviceByOpening: readonly (readonly [opening: string, advice: string])[] = [
  [
    openings.tokenRefused,
    'see that the owners’ issuers.yaml and what the CI job asks for say the same (docs/ci.md)',
  ],
  [openings.notAnApprover, askForGroup],
  [openings.notAsked, askForGroup],
  [
    openings.submissionMissing,
    'sign it: csc login makes your key and prints what the owners must have added to bindings.yaml; with a key, leave --unsigned out',
  ],
  [
    openings.sealedTo,
    'read it where csc submit --seal ran, which keeps the key ($XDG_STATE_HOME/csc/seal-keys), or give --seal-key FILE; --output --raw gives the sealed bytes',
  ],
  [
    openings.noSay,
    'sign with a key that its root names (csc policy status), or have its owners put yours there (csc policy rotate)',
  ],
  [
    openings.otherCa,
    'give --ca the address that csc ca serve listens on (port 7444 where nothing else was said), not the gate’s',
  ],
];

/** Whether it is the gate that is away, or the way to it: what is known of an execution then is as good as before. */
export function isGateAway({ code }: Pick<CscError, 'code'>): boolean {
  return code === 'GATE_UNREACHABLE' || rpcStatusOf(code) === 'UNAVAILABLE';
}

function adviceFor(code: string, message: string): string | undefined {
  const found = adviceByOpening.find(([opening]) => message.startsWith(opening));
  return found?.[1] ?? new Map(Object.entries(advice)).get(code);
}

function plain(markdown: string): string {
  return markdown.replaceAll('`', '');
}

// Whoever reads of these elsewhere, as in docs/errors.md, knows them by their codes.
function codeOf(error: unknown): string {
  return error instanceof CscError && logCodes.includes(error.code) ? `${error.code}: ` : '';
}

/** What to do about what a host or a gate has refused, of which the receipt says `REASON: why`; undefined for other words. */
export function adviceOn(refusal: string): string | undefined {
  if (refusal.startsWith('the owners have ')) return 'ask the owners of the fleet, who have stopped this';
  const read = readRefusal(refusal);
  return read && (adviceFor(read.reason, read.message) ?? plain(reasons[read.reason].remedy));
}

/** An error as a JSON document: `error` is the text and `remedy` what to do, `code` and `faults` are for programs. */
export function errorDocument(error: unknown): object {
  if (!(error instanceof CscError)) return { error: messageOf(error), code: 'INTERNAL' };
  const { code, faults, message, retryAfterMs, idempotencyKey, executionId } = error;
  const remedy = remedyOf(error);
  return {
    error: firstLine(message),
    code,
    ...(remedy === undefined ? {} : { remedy }),
    ...(faults.length === 0 ? {} : { faults }),
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
    ...(idempotencyKey === undefined ? {} : { idempotency_key: idempotencyKey }),
    ...(executionId === undefined ? {} : { execution_id: executionId }),
  };
}

/** Tells what went wrong: as JSON on stdout, or for people on stderr. Stack traces only with CSC_DEBUG. */
export async function reportError(error: unknown, json: boolean): Promise<void> {
  if (process.env['CSC_DEBUG'] !== undefined) note(error instanceof Error ? `${error.stack}` : String(error));
  if (json) await writeJson(errorDocument(error));
  else note(describeError(error));
}

/** What happened, then every fault, then what to do. */
export function describeError(error: unknown): string {
  const paint = createPaint(process.stderr);
  const lines = [
    `${paint(['red', 'bold'], 'ERROR')} — ${codeOf(error)}${showInvisible(firstLine(messageOf(error)))}`,
  ];
  if (!(error instanceof CscError)) {
    return [...lines, 'What to do: run it again with CSC_DEBUG=1 and report what it prints'].join('\n');
  }
  if (error.faults.length > 0) return [...lines, showInvisible(formatFaults(error.faults))].join('\n');
  const remedy = remedyOf(error);
  if (remedy !== undefined) lines.push(`What to do: ${remedy}`);
  return lines.join('\n');
}

// Undefined where the error says it itself.
function remedyOf({ code, message, faults, executionId, isLasting }: CscError): string | undefined {
  // A fault does, of its member.
  if (faults.length > 0) return undefined;
  // Of an execution that goes on, the message says how to come back to it.
  if (executionId !== undefined && isGateAway({ code })) return undefined;
  // What is lasting does; the advice is for what may pass.
  if (code === 'STORE_UNAVAILABLE' && isLasting) return undefined;
  return adviceFor(code, message);
}

function messageOf(error: unknown): string {
  return withoutSecrets(error instanceof Error ? error.message : String(error));
}

// A refused document's message lists its faults after the first line; they are shown from `faults`.
function firstLine(message: string): string {
  const [line = ''] = message.split('\n', 1);
  return line.replace(/:$/, '');
}
