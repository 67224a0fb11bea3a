import type { Command, CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import type { Offer } from '@csc-fleet/common/messages';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import { checkCeiling } from './ceiling/index.ts';
import { conclude } from './conclude.ts';
import type { Deliveries } from './deliver.ts';
import { beginTrace, type Execution } from './execution.ts';
import type { Host } from './host.ts';
import type { Outbox } from './link/outbox.ts';
import type { OutputSpool } from './output/index.ts';
import { prepareCommand } from './prepare-command.ts';
import { fileTimeNow, toDraft } from './receipt/index.ts';
import { type Attempt, giveBack, toRefused } from './refuse.ts';
import type { Run } from './run.ts';
import { runCommands } from './run-commands.ts';
import {
  checkApprovals,
  checkUnused,
  openOfferedTicket,
  readOfferedContract,
  reevaluate,
  toConsumed,
} from './ticket/index.ts';

/** Where an execution says what becomes of it. */
export interface Link {
  readonly outbox: Outbox;
  readonly deliveries: Deliveries;
  /** Throws DRAINING or QUEUE_FULL where nothing more may start now. */
  checkRoom(): void;
}

/**
 * One offer, from its ticket to its signed receipt. Rejects only where even the receipt could not be journalled; the
 * next start of the executor makes up for that.
 */
export async function execute(offer: Offer, run: Run, host: Host, link: Link): Promise<void> {
  const attempt: Attempt = {};
  let execution: Execution;
  try {
    execution = admit(offer, run, host, link, attempt);
    await redeem(execution, host);
  } catch (error) {
    host.log.warn({ executionId: offer.executionId, error }, 'an offer was refused');
    run.state = 'refused';
    link.outbox.post({ $case: 'refused', value: toRefused(offer, error, attempt, host) });
    return giveBack(attempt, host);
  }
  link.outbox.post({
    $case: 'accepted',
    value: { executionId: run.executionId, notes: notesFor(execution, host) },
  });
  link.deliveries.upload(execution.spool);
  await runCommands(execution, host, link.outbox);
  const finished = await conclude(execution, host);
  run.state = 'finished';
  link.deliveries.add(finished, execution.spool);
}

/**
 * Everything before the journal. Without a pause, so that no offer is half-way when the link breaks: either its redeem
 * is under way by then, or it never will be. Throws CscError.
 */
function admit(offer: Offer, run: Run, host: Host, link: Link, attempt: Attempt): Execution {
  const startedAt = host.clock.now();
  const contract = readOfferedContract(offer);
  attempt.contract = contract;
  const ticket = openOfferedTicket(offer, contract, { ...host, now: startedAt });
  checkUnused(ticket, host.journal);
  attempt.ticket = ticket;
  const { document, evaluation } = reevaluate(contract, ticket, host.policies);
  attempt.document = document;
  const approvals = checkApprovals(evaluation, offer.approvalsJson, { ...host, ticket, now: startedAt });
  attempt.approvals = approvals;
  checkCeiling(contract, host.ceiling);
  link.checkRoom();
  const spool = openSpool(ticket, run, host);
  attempt.spool = spool;
  // The host's facts, the plan and the sandbox, which is built while the journal is written and held until then.
  const first = prepareCommand(firstCommand(contract), document.policy, host);
  attempt.first = first;
  const { executorId, workplace } = host;
  const subject = {
    executorId,
    executionMode: workplace.mode,
    contract,
    ticket,
    document,
    approvals,
    startedAt,
  };
  return { run, subject, spool, first, trace: beginTrace(first) };
}

/** Durable when it resolves: from then on there will be a receipt, whatever happens. */
async function redeem({ subject, first, trace }: Execution, host: Host): Promise<void> {
  const { ticket, approvals, startedAt, contract } = subject;
  const writes = contract.commands.some(({ write_paths: paths }) => paths.length > 0);
  const [since] = await Promise.all([
    writes ? fileTimeNow(host.spools.scratch(ticket.execution_id)).catch(() => undefined) : undefined,
    host.journal.redeem({
      ticketId: ticket.ticket_id,
      executionId: ticket.execution_id,
      draft: toDraft(subject, { ...trace, next: first.command }),
      redeemedAt: startedAt,
      approvals: toConsumed(approvals),
    }),
  ]);
  if (since !== undefined) trace.since = since;
}

function firstCommand({ commands: [command] }: CommandContract): Command {
  if (command === undefined) throw new CscError('CONTRACT_INVALID', 'the contract has no command');
  return command;
}

// The ticket's grant, within this host's own limits.
function openSpool({ execution_id, grant }: ExecutionTicket, run: Run, host: Host): OutputSpool {
  const { limits, spools, log } = host;
  const caps = {
    stdout: Math.min(grant.limits.stdout_bytes, limits.stdoutBytes),
    stderr: Math.min(grant.limits.stderr_bytes, limits.stderrBytes),
  };
  return spools.open(execution_id, caps, (error) => {
    log.error({ executionId: execution_id, error }, 'output cannot be written: ending the run');
    run.stop('output_limit', 0);
  });
}

function notesFor({ first }: Execution, { workplace }: Host): string[] {
  return [...workplace.notes, ...(first.place?.notes ?? [])];
}
