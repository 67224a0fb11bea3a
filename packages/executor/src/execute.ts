import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import type { Offer, Refused } from '@csc-fleet/common/messages';
import type { Log, LogFields } from '@csc-fleet/common/service';
import { type Timed, untimed } from '@csc-fleet/common/telemetry';
import { type Tracing, toReason, traced, tracedNow } from '@csc-fleet/common/tracing';
import {
  type AdmissionPorts,
  admit,
  hostNames,
  lookAgain,
  type OfferChecks,
  type OwnersRules,
  openOffered,
  submissionTrust,
} from './admission/admit.ts';
import type { ApprovedContract } from './admission/approvals.ts';
import type { Admitted } from './admission/ceiling.ts';
import {
  type Granted,
  grant,
  isStillGranted,
  type Stock,
  type Supplied,
  supplyAgain,
  takeBelongings,
} from './admission/grant.ts';
import { type OfferedTicket, readOffer } from './admission/offer.ts';
import type { PermittedContract } from './admission/reevaluate.ts';
import { journalRefusal, type PlannedRefusal, planRefusal, type Refusal } from './admission/refusal.ts';
import { type SubmittedTicket, subjectOf, type TrialLog, verifySubmission } from './admission/submission.ts';
import { type GenuineTicket, verifyTicket } from './admission/verify-ticket.ts';
import { conclude } from './evidence/index.ts';
import type { FinishedExecution, Journal } from './journal/index.ts';
import type { OutputSpool, SpoolDirectory } from './output/index.ts';
import { type RunEvents, runInOrder } from './run/in-order.ts';
import type { LiveRun } from './run/live-run.ts';
import { type PreparedRun, prepare, type Site, waitUntilReady, withdraw } from './run/prepare.ts';
import { type RedeemedRun, redeem } from './run/redeem.ts';

/** What an execution stands on. Each step below is handed just its own part. */
export interface ExecutionPorts extends AdmissionPorts {
  readonly rules: OwnersRules;
  readonly stock: Stock;
  readonly site: Site;
  readonly journal: Journal;
  readonly spools: SpoolDirectory;
  /** Attests the receipt of everything that ran. Absent: where its submission asks for that. */
  readonly attestReceipts?: boolean | undefined;
  readonly log: Log;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** Tells the owner of a run that would have been refused; gives what to tell its submitter. */
  readonly trials: TrialLog;
  /** Absent: nobody asks how long its steps take. */
  readonly timed?: Timed<'sandbox' | 'redeem' | 'run' | 'receipt'>;
  /** Told of the checks, which pause only where a secret is waited for; seconds. */
  readonly took?: (stage: 'admission', seconds: number) => void;
}

/** Where an execution asks whether it may go on, and says what becomes of it. */
export interface ExecutionLink extends RunEvents, OfferChecks {
  /** It is not run. Where its receipt is not empty, that is journalled. */
  refused(refused: Refused): void;
  /** It runs, and its output can be read from now on. */
  accepted(notes: readonly string[], spool: OutputSpool): void;
  /** Its receipt is journalled. */
  finished(finished: FinishedExecution, spool: OutputSpool): void;
}

/**
 * One offer, from its ticket to its signed receipt. Rejects only where even the receipt could not be journalled; the
 * next start of the executor makes up for that.
 */
export async function execute(
  offer: Offer,
  run: LiveRun,
  ports: ExecutionPorts,
  link: ExecutionLink,
): Promise<void> {
  const { executorId } = ports.trust;
  const facts = { 'csc.execution.id': run.executionId, 'csc.executor.id': executorId };
  const span = ports.tracing?.begin('csc.execute', { parent: run.trace, facts });
  if (span !== undefined) run.trace = span.context;
  try {
    await executeOffer(offer, run, ports, link);
    span?.end(run.state === 'refused' ? run.refusedFor : undefined);
  } catch (error) {
    span?.end(toReason(error));
    throw error;
  }
}

async function executeOffer(
  offer: Offer,
  run: LiveRun,
  ports: ExecutionPorts,
  link: ExecutionLink,
): Promise<void> {
  const begun = await begin(offer, run, ports, link);
  if (begun.kind === 'refused') return await refuse(begun, run, ports, link);
  if (begun.kind === 'unconfirmed') return await drop(begun, run, ports);
  run.isInVain = false;
  const { redeemed } = begun;
  const { subject, spool, record, belongings, allowance, first } = redeemed;
  const trial = ports.trials.note(subject.ticket, subject.asked?.warnings ?? []);
  link.accepted([...ports.site.workplace.notes, ...(first.place?.notes ?? []), ...trial], spool);
  const { timed = untimed } = ports;
  try {
    await timed('run', () => runInOrder(redeemed, run, ports, link));
    const secretsUsed = allowance.secrets.values.size;
    const concluded = { subject, spool, record, secretsUsed, signal: run.signal };
    const finished = await timed('receipt', () => conclude(concluded, ports));
    run.state = 'finished';
    link.finished(finished, spool);
  } finally {
    await belongings.giveBack();
  }
}

/** Every value that an offer becomes on its way, one a step. */
type Reached =
  | OfferedTicket
  | GenuineTicket
  | SubmittedTicket
  | PermittedContract
  | ApprovedContract
  | Admitted
  | Supplied
  | Granted
  | PreparedRun;

type Begun = { readonly kind: 'redeemed'; readonly redeemed: RedeemedRun } | RefusedRun | UnconfirmedOffer;

/** The gate has not written down what it offered: there was no offer. */
interface UnconfirmedOffer {
  readonly kind: 'unconfirmed';
  readonly reached: Reached | undefined;
}

interface RefusedRun {
  readonly kind: 'refused';
  readonly planned: PlannedRefusal;
  /** What is still to be given back. */
  readonly reached: Reached | undefined;
}

// Longer, and what was looked at before the sandbox was begun may not be so any more.
const noticeableMs = 1000;

/**
 * From what a gate says to a ticket that is spent. Whatever a step throws is a refusal, with the value of the one before it.
 * One function, as its first steps are one turn where nothing has to be waited for: who offers the same id next must find a
 * refused offer gone.
 */
async function begin(offer: Offer, run: LiveRun, ports: ExecutionPorts, link: ExecutionLink): Promise<Begun> {
  const { trust, rules, stock, site, journal, spools, clock, tracing, timed = untimed } = ports;
  const began = performance.now();
  const parent = run.trace;
  const admission = tracing?.begin('csc.executor.admission', { parent });
  let reached: Reached | undefined;
  const reach = <Value extends Reached>(value: Value): Value => {
    reached = value;
    return value;
  };
  try {
    // What the owners have published while this host was away is still on its way when the gate begins to offer by it.
    const hearing = rules.owners.hearing?.();
    if (hearing !== undefined) await hearing;
    const offered = reach(readOffer(offer));
    const genuine = reach(verifyTicket(offered, { ...trust, now: clock.now() }));
    // Only for a gate whose ticket is genuine, and before anything is taken: an issuer may have to be asked for its keys.
    const opening = openOffered(offered, ports);
    const token = opening instanceof Promise ? await opening : opening;
    const submitted = reach(
      verifySubmission(genuine, offered.submissionJson, submissionTrust(ports, genuine, token)),
    );
    run.subject = subjectOf(submitted, hostNames(ports));
    const admitted = admit(submitted, offered, ports, reach);
    link.checkRoom();
    run.isInVain = true;
    const taken = reach(await takeBelongings(admitted, stock, clock));
    const supplied = taken.belongings.tookTime
      ? reach(supplyAgain(taken, lookAgain(offered, token, ports, link)))
      : taken;
    const granted = reach(grant(supplied, rules));
    admission?.end();
    const here = {
      executorId: trust.executorId,
      executionMode: site.workplace.mode,
      attest: ports.attestReceipts === true,
    };
    ports.took?.('admission', (performance.now() - began) / 1000);
    const onOutputLost = (error: unknown): void => {
      ports.log.error({ executionId: run.executionId, error }, 'output cannot be written: ending the run');
      run.stop('output_limit', 0);
    };
    const build = () => timed('sandbox', () => prepare(granted, here, { site, spools }, onOutputLost));
    const prepared = reach(tracedNow(tracing, 'csc.executor.sandbox', { parent }, build));
    const since = performance.now();
    if (prepared.first.process !== undefined) await waitUntilReady(prepared.first);
    // What the gate is yet to write down may be built, and nothing more.
    if (run.confirmation === 'awaited') await confirmedInTime(run, prepared, clock);
    if (run.confirmation === 'void') return { kind: 'unconfirmed', reached };
    const tookMs = performance.now() - since;
    if (tookMs < noticeableMs) link.checkWanted();
    else if (!isStillGranted(granted, supplyAgain(supplied, lookAgain(offered, token, ports, link)), rules))
      throw new CscError('SANDBOX_UNAVAILABLE', changedMeanwhile);
    // No pause from here to the journal, so that no offer is half-way when the link breaks: either its redeem is under way
    // by then, or it never will be.
    const spend = () => timed('redeem', () => redeem(prepared, journal, spools));
    return { kind: 'redeemed', redeemed: await traced(tracing, 'csc.executor.redeem', { parent }, spend) };
  } catch (error) {
    admission?.end(toReason(error));
    // Nor is it answered before, or anything signed of it, and it keeps nothing of this host's meanwhile, its slot included. There
    // is no pause where it was confirmed.
    const isAwaited = run.confirmation === 'awaited';
    if (isAwaited) {
      run.state = 'refusing';
      await giveBack(reached, spools);
      await run.confirmed;
    }
    const held = isAwaited ? undefined : reached;
    if (run.confirmation === 'void') return { kind: 'unconfirmed', reached: held };
    return { ...planToRefuse({ offer, error, reached }, run, ports), reached: held };
  }
}

const changedMeanwhile =
  'what this host grants has changed since its sandbox was built: offered again, it is built anew';

/**
 * Resolves once it is known whether the gate has written down what it offered. Throws TICKET_EXPIRED where that is not known by
 * the end of the ticket, with which nothing can be begun any more: a gate must not be able to have this host keep users,
 * secrets and sandboxes for what it never confirms.
 */
async function confirmedInTime(
  run: LiveRun,
  { subject: { ticket } }: Pick<PreparedRun, 'subject'>,
  clock: Clock,
): Promise<void> {
  const late = Promise.withResolvers<never>();
  const expired = new CscError('TICKET_EXPIRED', 'its ticket has ended before the gate confirmed its offer');
  const leftMs = Math.max(0, Date.parse(ticket.expires_at) - clock.now().getTime());
  const timer = setTimeout(() => late.reject(expired), leftMs);
  await Promise.race([run.confirmed, late.promise]).finally(() => clearTimeout(timer));
}

// Within the same turn: who offers the same id next must not find it under way.
function planToRefuse(
  refusal: Refusal<Reached>,
  run: LiveRun,
  { trust, site, journal, signer, clock, log }: ExecutionPorts,
): RefusedRun {
  log.warn({ executionId: run.executionId, ...whyRefused(refusal.error) }, 'an offer was refused');
  const executionMode = site.workplace.mode;
  run.refusedFor = toReason(refusal.error);
  const planned = planRefusal(refusal, { trust, executionMode, journal, signer, clock, log });
  run.state = planned.record === undefined ? 'refused' : 'refusing';
  return { kind: 'refused', planned, reached: refusal.reached };
}

// What this host says on purpose needs no stack to be found.
function whyRefused(error: unknown): LogFields {
  return isCscError(error) ? { code: error.code, why: error.message } : { error };
}

/** Says so, once it is journalled where it is signed, and gives back what the offer had taken. */
async function refuse(
  { planned, reached }: RefusedRun,
  run: LiveRun,
  { journal, spools, log }: ExecutionPorts,
  link: ExecutionLink,
): Promise<void> {
  const refused = await journalRefusal(planned, { journal, log });
  if (refused.receiptJson.length > 0) run.isInVain = false;
  run.state = 'refused';
  link.refused(refused);
  await giveBack(reached, spools);
}

/** Gives back what it had taken. Nobody is told, and nothing is written: whoever offered it does not know of it. */
async function drop(
  { reached }: UnconfirmedOffer,
  run: LiveRun,
  { spools, log }: ExecutionPorts,
): Promise<void> {
  run.state = 'refused';
  log.info({ executionId: run.executionId }, 'the gate did not write down what it offered: nothing is done');
  await giveBack(reached, spools);
}

async function giveBack(reached: Reached | undefined, spools: SpoolDirectory): Promise<void> {
  if (reached === undefined || !('belongings' in reached)) return;
  if ('first' in reached) await withdraw(reached.first);
  await reached.belongings.giveBack();
  if (!('spool' in reached)) return;
  await reached.spool.discard();
  spools.release(reached.spool);
}
