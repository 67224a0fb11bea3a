import { setTimeout as sleep } from 'node:timers/promises';
import { toConsumed } from '@csc-fleet/common/approval';
import type { Command } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import type { Allowance, Belongings } from '../admission/grant.ts';
import { toShortage } from '../admission/refusal.ts';
import { toUse } from '../admission/single-use.ts';
import {
  type FileTime,
  fileTimeNow,
  type ReceiptSubject,
  type RunRecord,
  toBareDraft,
  toDraft,
} from '../evidence/index.ts';
import type { Journal } from '../journal/index.ts';
import type { OutputSpool, SpoolDirectory } from '../output/index.ts';
import { nothingOfItRan } from './one-command.ts';
import {
  buildUnlessMissing,
  type PlannedCommand,
  type PreparedCommand,
  type PreparedRun,
  type Site,
  waitUntilReady,
  withdraw,
} from './prepare.ts';

class Redeemed {
  protected readonly step = 'redeemed';
  readonly subject: ReceiptSubject;
  readonly belongings: Belongings;
  readonly allowance: Allowance;
  readonly spool: OutputSpool;
  readonly first: PreparedCommand | PlannedCommand;
  readonly record: RunRecord;
  /** Before the first command started. Absent where nothing may be written, or the time could not be had. */
  readonly since: FileTime | undefined;

  constructor(
    { subject, belongings, allowance, spool, first, record }: PreparedRun,
    since: FileTime | undefined,
  ) {
    this.subject = subject;
    this.belongings = belongings;
    this.allowance = allowance;
    this.spool = spool;
    this.first = first;
    this.record = record;
    this.since = since;
  }
}

/** Its ticket and its approvals are spent, durably: it may start, and there will be a receipt, whatever happens. */
export type RedeemedRun = Redeemed;

/**
 * Spends the ticket and the approvals. Durable when it resolves. Rejects with what the journal's `redeem` does; the
 * prepared command is still held then.
 */
export async function redeem(
  prepared: PreparedRun,
  journal: Pick<Journal, 'redeem'>,
  spools: Pick<SpoolDirectory, 'scratch'>,
): Promise<RedeemedRun> {
  const { subject, first, record } = prepared;
  const { ticket, approvals, startedAt, contract, asked } = subject;
  const writes = contract.commands.some(({ write_paths: paths }) => paths.length > 0);
  const [since] = await Promise.all([
    writes ? fileTimeNow(spools.scratch(ticket.execution_id)).catch(() => undefined) : undefined,
    journal.redeem({
      ...toUse(ticket, asked?.claimed),
      draft: toDraft(subject, record, first.command),
      bare: toBareDraft(subject, first.command),
      commands: contract.commands.length,
      redeemedAt: startedAt,
      approvals: toConsumed(approvals),
    }),
  ]);
  return new Redeemed(prepared, since);
}

/**
 * Builds a command of a run that may leave something on this host: makes its write paths that are missing, then builds it,
 * held. Throws a CscError where the host cannot give what is declared.
 */
function buildRedeemed(command: Command, { allowance }: RedeemedRun, site: Site): PreparedCommand {
  const first = buildUnlessMissing(command, allowance, site);
  if (first.process !== undefined) return first;
  const made = site.workplace.makeMissing(command, allowance);
  try {
    const second = buildUnlessMissing(command, allowance, site);
    if (second.process !== undefined) return takingBack(second, made);
    throw new CscError('SCOPE_NOT_FOUND', 'a write path was created and is gone again');
  } catch (error) {
    made.takeBackUnwritten();
    throw error;
  }
}

// Of a host that lacks something for a moment: for longer, its run would only stand in the way of others.
const tries = 4;
const betweenMs = 250;

/**
 * Builds such a command until its sandbox is there, held. What the host lacks is no reason any more to have it run elsewhere,
 * as its ticket is spent; as long as it is held, nothing of it has run, and it is built anew. Rejects with a CscError where
 * that does not help, or the host cannot give what is declared.
 */
export async function buildUntilReady(
  command: Command,
  redeemed: RedeemedRun,
  site: Site,
  signal: AbortSignal,
): Promise<PreparedCommand> {
  for (let left = tries - 1; ; left -= 1) {
    try {
      return await buildReady(command, redeemed, site);
    } catch (error) {
      const shortage = toShortage(error);
      // The ends of a terminal are handed over once.
      const isLast = left === 0 || signal.aborted || redeemed.allowance.terminal !== undefined;
      if (shortage === undefined) throw error;
      if (isLast) throw nothingRan(shortage);
    }
    await sleep(betweenMs);
  }
}

async function buildReady(command: Command, redeemed: RedeemedRun, site: Site): Promise<PreparedCommand> {
  const prepared = buildRedeemed(command, redeemed, site);
  try {
    await waitUntilReady(prepared);
    return prepared;
  } catch (error) {
    await withdraw(prepared);
    throw error;
  }
}

function nothingRan({ code, message, cause }: CscError): CscError {
  return new CscError(code, `${message}; ${nothingOfItRan}`, { cause });
}

// Before anybody looks for what the command has left.
function takingBack(
  prepared: PreparedCommand,
  made: ReturnType<Site['workplace']['makeMissing']>,
): PreparedCommand {
  const { place } = prepared;
  if (place === undefined) return prepared;
  const close = (): void => {
    made.takeBackUnwritten();
    place.close();
  };
  return { ...prepared, place: { ...place, close } };
}
