import type { CountedApproval } from '@csc-fleet/common/approval';
import { argvs, type Command, type CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import type { PolicyDocument } from '@csc-fleet/common/policy';
import { type Log, logOfRun } from '@csc-fleet/common/service';
import { endedProcess, type LaunchedProcess, type Launcher } from '@csc-fleet/sandbox/launch';
import type { Allowance, Belongings, Granted } from '../admission/grant.ts';
import { type SubmittedTicket, toAsked } from '../admission/submission.ts';
import type { Egress, OpenEgress } from '../egress/index.ts';
import { type ReceiptSubject, type RecordedPlace, RunRecord } from '../evidence/index.ts';
import type { OutputSpool, SpoolDirectory } from '../output/index.ts';
import { furnishCommand, type Workshop } from './furnish.ts';
import type { Place } from './workplace.ts';

/** Where commands are built. */
export interface Site extends Workshop {
  readonly launcher: Launcher;
  readonly openEgress: OpenEgress;
  /** Told of faults of a proxy, which cost one connection each. */
  readonly log: Log;
}

/** A command that is built and held: it starts at `process.release()`. */
export interface PreparedCommand {
  readonly command: Command;
  readonly process: LaunchedProcess;
  /** Absent where it cannot run on this host, as `process.exited` will say. */
  readonly place?: Place;
  /** Its way out, which must be there before it starts; absent where it has none. */
  readonly egress?: Promise<Egress>;
}

/**
 * A command that stood every check, and of which nothing is built: write paths of it are still to be made, which only a
 * redeemed ticket is reason enough for.
 */
export interface PlannedCommand {
  readonly command: Command;
  readonly process?: never;
  /** What is known by now of where it will run. */
  readonly place: RecordedPlace & Pick<Place, 'notes'>;
}

class Prepared {
  protected readonly step = 'prepared';
  readonly contract: CommandContract;
  /** With document and approvals, for the refusal where the journal does not take it. */
  readonly submitted: SubmittedTicket;
  readonly document: PolicyDocument;
  readonly approvals: readonly CountedApproval[];
  readonly subject: ReceiptSubject & Required<Pick<ReceiptSubject, 'document'>>;
  readonly belongings: Belongings;
  readonly allowance: Allowance;
  readonly spool: OutputSpool;
  readonly first: PreparedCommand | PlannedCommand;
  readonly record: RunRecord;

  constructor(
    { contract, ticket, verifiedAt, document, approvals, submitted, belongings, allowance }: Granted,
    { executorId, executionMode, attest }: Here,
    spool: OutputSpool,
    first: PreparedCommand | PlannedCommand,
  ) {
    const startedAt = verifiedAt;
    this.contract = contract;
    this.submitted = submitted;
    this.document = document;
    this.approvals = approvals;
    this.subject = {
      executorId,
      executionMode,
      contract,
      contractSha256: submitted.contractSha256,
      ticket,
      document,
      approvals,
      asked: toAsked(submitted),
      requireOutputs: document.policy.require_outputs === true || submitted.claimed?.requireOutputs === true,
      sealTo: submitted.claimed?.sealTo,
      attest: attest === true || submitted.claimed?.attest === true,
      startedAt,
    };
    this.belongings = belongings;
    this.allowance = allowance;
    this.spool = spool;
    this.first = first;
    this.record = new RunRecord(first.place, spool.caps, allowance.limits);
  }
}

/**
 * There is room for its output, and its first command is built and held, or planned where something has to be made for
 * it. The ticket is not spent: nothing may start, and nothing is left on the host where it never is.
 */
export type PreparedRun = Prepared;

/** What a receipt says of the host. */
export type Here = Pick<ReceiptSubject, 'executorId' | 'executionMode' | 'attest'>;

/**
 * Takes room for the output, gathers the host's facts, and builds the first command's sandbox, which is held. Throws
 * SPOOL_FULL, or a CscError where the host cannot give what is declared; nothing is taken then.
 * @param onOutputLost called once if output cannot be kept: the run must end
 */
export function prepare(
  granted: Granted,
  here: Here,
  { site, spools }: { readonly site: Site; readonly spools: Pick<SpoolDirectory, 'open' | 'release'> },
  onOutputLost: (error: unknown) => void,
): PreparedRun {
  const { contract, ticket, allowance, outputCaps } = granted;
  const { execution_id: executionId } = ticket;
  // No file is made before there is output.
  const spool = spools.open(executionId, outputCaps, onOutputLost);
  try {
    const first = buildUnlessMissing(firstCommand(contract), allowance, siteOfRun(site, executionId));
    return new Prepared(granted, here, spool, first);
  } catch (error) {
    spools.release(spool);
    throw error;
  }
}

/** The same site, which tells of one run. */
export function siteOfRun(site: Site, executionId: string): Site {
  return { ...site, log: logOfRun(site.log, executionId) };
}

function firstCommand({ commands: [command] }: CommandContract): Command {
  if (command === undefined) throw new CscError('CONTRACT_INVALID', 'the contract has no command');
  return command;
}

/**
 * Gathers the host's facts for a command, holds it against them, and builds it, held; makes nothing on the host. Throws a
 * CscError where the host cannot give what is declared.
 */
export function buildUnlessMissing(
  command: Command,
  allowance: Allowance,
  site: Site,
): PreparedCommand | PlannedCommand {
  const furnished = furnishCommand(command, allowance, site);
  if (furnished.kind === 'not_startable')
    return { command, process: endedProcess({ kind: 'not_started', code: 126, message: furnished.why }) };
  const { place } = furnished;
  if (place.missing.length > 0) {
    place.close();
    const { report, credentials, notes } = place;
    const own = credentials === undefined ? {} : { credentials };
    return { command, place: { report, ...own, notes, writableRoots: [] } };
  }
  try {
    const segments = argvs(command).map((argv) => ({ argv }));
    const terminal = allowance.terminal === undefined ? {} : { terminal: allowance.terminal.ends };
    const process = site.launcher.launch({ segments, place: place.launchIn, hold: true, ...terminal });
    place.launched?.(process);
    return { command, place, process, ...beginEgress(command, process, allowance, site) };
  } catch (error) {
    place.close();
    throw error;
  }
}

function beginEgress(
  { network }: Command,
  process: LaunchedProcess,
  { egressHosts }: Allowance,
  { openEgress, log }: Site,
): Pick<PreparedCommand, 'egress'> {
  if (network !== 'allowlisted') return {};
  const egress = openEgress(process.inits, egressHosts, (error) =>
    log.error({ error }, 'the proxy of a job failed: what it failed at was ended'),
  );
  // Whoever waits for it is told; where the command is withdrawn, nobody does.
  egress.catch(() => undefined);
  return { egress };
}

// Building takes milliseconds: a host that needs longer has none to run anything with.
const buildMs = 10_000;

/**
 * Waits until the sandbox of a prepared command and its way out are there: what a host lacks shows here, while the ticket is
 * good for another one. Throws SANDBOX_UNAVAILABLE, or what kept the proxy from being started.
 */
export async function waitUntilReady({ process, egress }: PreparedCommand): Promise<void> {
  const ready = await inTime(process.ready, 'it');
  if (ready) {
    await inTime(egress, 'its way to the network');
    return;
  }
  process.stdout.resume();
  process.stderr.resume();
  const outcome = await process.exited;
  const cause = 'cause' in outcome ? outcome.cause : undefined;
  throw sandboxFailed('message' in outcome ? outcome.message : outcome.kind, cause);
}

async function inTime<T>(waited: Promise<T> | undefined, what: string): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(sandboxFailed(`${what} was not there within ${buildMs / 1000} s`)),
      buildMs,
    );
  });
  try {
    return await Promise.race([waited, late]);
  } finally {
    clearTimeout(timer);
  }
}

// What the host has run out of, if that is the cause, is told as everywhere else, with what to do.
function sandboxFailed(why: string, cause?: unknown): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', `the sandbox failed: ${why}`, { cause });
}

/** Ends a prepared command that is not to run. */
export async function withdraw(prepared: PreparedCommand | PlannedCommand): Promise<void> {
  if (prepared.process === undefined) return;
  const { process, place, egress } = prepared;
  process.terminate(0);
  process.stdout.resume();
  process.stderr.resume();
  process.terminal?.resume();
  await process.exited;
  await egress?.then((opened) => opened.finish()).catch(() => undefined);
  place?.close();
}
