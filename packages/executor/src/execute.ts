import { toConsumed } from '@csc-fleet/common/approval';
import type { Command, CommandContract } from '@csc-fleet/common/contract';
import { CscError } from '@csc-fleet/common/errors';
import { narrowLimits } from '@csc-fleet/common/limits';
import type { Offer } from '@csc-fleet/common/messages';
import { checkCeiling } from './admission/ceiling-index.ts';
import { grantOf } from './admission/grant.ts';
import {
  awaitTicket,
  checkApprovals,
  checkUnused,
  msUntilTicket,
  openOfferedTicket,
  readOfferedContract,
  reevaluate,
  toUse,
} from './admission/index.ts';
import { type Attempt, giveBack, journalRefusal, planRefusal } from './admission/refuse.ts';
import { conclude } from './evidence/conclude.ts';
import { toDraft } from './evidence/index.ts';
import { fileTimeNow } from './evidence/measure-index.ts';
import type { Deliveries } from './link/deliver.ts';
import type { Outbox } from './link/outbox.ts';
import type { OutputSpool } from './output/index.ts';
import { beginTrace, type Execution } from './run/execution.ts';
import type { Host } from './run/host.ts';
import { prepareCommand } from './run/prepare-command.ts';
import type { Run } from './run/run.ts';
import { runCommands } from './run/run-commands.ts';
import type { Granted } from './run/workplace.ts';
import { readRunSecrets } from './secrets/index.ts';

/** Where an execution says what becomes of it. */
export interface Link {
  readonly outbox: Outbox;
  readonly deliveries: Deliveries;
  /** Throws DRAINING, QUEUE_FULL or SPOOL_FULL where nothing more may start now. */
  checkRoom(): void;
  /**
   * Throws DRAINING where the connection that the offer came over is gone, TICKET_REVOKED where the gate has withdrawn
   * it: it may be placed elsewhere by now.
   */
  checkWanted(): void;
}

/**
 * One offer, from its ticket to its signed receipt. Rejects only where even the receipt could not be journalled; the
 * next start of the executor makes up for that.
 */
export async function execute(offer: Offer, run: Run, host: Host, link: Link): Promise<void> {
  const attempt: Attempt = {};
  let execution: Execution;
  try {
    const admitted = admit(offer, host, attempt);
    link.checkRoom();
    const taken = await takeBelongings(admitted, offer, host, link, attempt);
    execution = build(admitted, taken, run, host, attempt);
    await redeem(execution, host);
  } catch (error) {
    host.log.warn({ executionId: offer.executionId, error }, 'an offer was refused');
    const planned = planRefusal(offer, error, attempt, host);
    run.state = planned.record === undefined ? 'refused' : 'refusing';
    const refused = await journalRefusal(planned, host);
    run.state = 'refused';
    if (refused.receiptJson.length > 0) link.deliveries.addRefusal(refused);
    else link.outbox.post({ $case: 'refused', value: refused });
    return giveBack(attempt, host);
  }
  link.outbox.post({
    $case: 'accepted',
    value: { executionId: run.executionId, notes: notesFor(execution, host) },
  });
  link.deliveries.upload(execution.spool);
  try {
    await runCommands(execution, host, link.outbox);
    const finished = await conclude(execution, host);
    run.state = 'finished';
    link.deliveries.add(finished, execution.spool);
  } finally {
    execution.granted.secrets.wipe();
    await attempt.lease?.giveBack();
  }
}

/** What an offer says, once nothing speaks against it but what this host may lack. */
interface Admitted {
  readonly subject: Execution['subject'];
}

/** Every check of an offer's papers. Throws CscError. */
function admit(offer: Offer, host: Host, attempt: Attempt): Admitted {
  const startedAt = host.clock.now();
  const contract = readOfferedContract(offer);
  attempt.contract = contract;
  const ticket = openOfferedTicket(offer, contract, { ...host, now: startedAt });
  checkUnused(ticket, host.journal);
  const { document, evaluation } = reevaluate(contract, ticket, host.policies);
  attempt.document = document;
  const approvals = checkApprovals(evaluation, offer.approvalsJson, {
    ...host,
    contract,
    ticket,
    now: startedAt,
  });
  attempt.approvals = approvals;
  checkCeiling(contract, host.ceiling, {
    principal: ticket.principal,
    allowCommands: document.policy.allow_commands,
    approvals: approvals.length,
  });
  const { executorId, workplace } = host;
  const executionMode = workplace.mode;
  return { subject: { executorId, executionMode, contract, ticket, document, approvals, startedAt } };
}

/** What one run has of this host for itself. */
type Belongings = Pick<Granted, 'secrets' | 'user'>;

/**
 * The run's user, and the secrets that the contract names: asked for only by an offer that has its slot, as it has from
 * the check of the room on, and whose ticket has begun. This is the one pause before the journal: whatever may have
 * changed meanwhile is asked again.
 */
async function takeBelongings(
  { subject: { contract, ticket } }: Admitted,
  offer: Offer,
  host: Host,
  link: Link,
  attempt: Attempt,
): Promise<Belongings> {
  const isEarly = msUntilTicket(ticket, host.clock) > 0;
  if (isEarly) await awaitTicket(ticket, host.clock);
  const lease = await host.jobUsers.lease();
  attempt.lease = lease;
  const secrets = await readRunSecrets(contract, host.secrets);
  attempt.secrets = secrets;
  const belongings = { secrets, ...(lease.user === undefined ? {} : { user: lease.user }) };
  if (secrets.values.size === 0 && !host.jobUsers.pooled && !isEarly) return belongings;
  link.checkWanted();
  link.checkRoom();
  openOfferedTicket(offer, contract, { ...host, now: host.clock.now() });
  checkUnused(ticket, host.journal);
  return belongings;
}

/**
 * Takes room for the output, and builds the first command's sandbox, held. Up to the journal there is no pause from here, so that no
 * offer is half-way when the link breaks: either its redeem is under way by then, or it never will be. Throws CscError.
 */
function build(
  { subject }: Admitted,
  belongings: Belongings,
  run: Run,
  host: Host,
  attempt: Attempt,
): Execution {
  const { contract, ticket, document } = subject;
  const spool = openSpool(subject, run, host);
  attempt.spool = spool;
  const granted = grantOf(document, ticket.grant.limits, belongings, host);
  // The host's facts, the plan and the sandbox, which is built while the journal is written and held until then.
  const first = prepareCommand(firstCommand(contract), granted, host);
  attempt.first = first;
  return { run, subject, spool, granted, first, trace: beginTrace(first, spool, granted) };
}

/** Durable when it resolves: from then on there will be a receipt, whatever happens. */
async function redeem({ subject, first, trace }: Execution, host: Host): Promise<void> {
  const { ticket, approvals, startedAt, contract } = subject;
  const writes = contract.commands.some(({ write_paths: paths }) => paths.length > 0);
  const [since] = await Promise.all([
    writes ? fileTimeNow(host.spools.scratch(ticket.execution_id)).catch(() => undefined) : undefined,
    host.journal.redeem({
      ...toUse(ticket),
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

// The least of what the ticket, the policy and this host allow.
function openSpool({ ticket, document }: Execution['subject'], run: Run, host: Host): OutputSpool {
  const { spools, log } = host;
  const { execution_id: executionId, grant } = ticket;
  const limits = { stdout_bytes: host.limits.stdoutBytes, stderr_bytes: host.limits.stderrBytes };
  const { stdout_bytes: stdout, stderr_bytes: stderr } = narrowLimits(
    narrowLimits(limits, grant.limits),
    document.policy.limits ?? {},
  );
  return spools.open(executionId, { stdout, stderr }, (error) => {
    log.error({ executionId, error }, 'output cannot be written: ending the run');
    run.stop('output_limit', 0);
  });
}

function notesFor({ first }: Execution, { workplace }: Host): string[] {
  return [...workplace.notes, ...(first.place?.notes ?? [])];
}
