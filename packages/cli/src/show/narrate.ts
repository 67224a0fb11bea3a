import type { EventOf, ExecutionEvent } from '@csc-fleet/client/offline';
import { Verdict } from '@csc-fleet/common/messages';
import { plainLine } from '../terminal/text.ts';
import { describeAbsence } from './execution.ts';

/** What to tell a person of an event: a line that stays, what is going on now, or both. */
interface Narration {
  readonly line?: string;
  readonly now?: string;
}

/** Events in words. Names and texts from elsewhere are made safe for a terminal. */
export function narrate(event: ExecutionEvent): Narration {
  switch (event.type) {
    case 'decided':
      return narrateDecision(event);
    case 'queued': {
      const reason = event.reason === '' ? '' : `: ${plainLine(event.reason)}`;
      const place = event.position === 0 ? 'next in the queue' : `${event.position} before it in the queue`;
      const isNews = event.position > 0 || reason !== '';
      return { ...(isNews ? { line: `csc: queued, ${place}${reason}` } : {}), now: `queued, ${place}` };
    }
    case 'placed': {
      const labels = Object.entries(event.labels).map(([key, value]) => `${key}=${value}`);
      const suffix = labels.length === 0 ? '' : ` (${labels.sort().join(', ')})`;
      return { line: plainLine(`csc: placed on ${event.executorId}${suffix}`), now: 'starting' };
    }
    case 'reviewed':
      return { line: plainLine(describeReview(event)) };
    case 'bindingWanted':
      return { now: plainLine(`naming ${event.executorId} in the submission`) };
    case 'started': {
      const lines = [`csc: started on ${event.executorId}`, ...toNotes(event)];
      return { line: lines.map(plainLine).join('\n'), now: plainLine(`running on ${event.executorId}`) };
    }
    case 'commandStarted':
      return { now: plainLine(`running ${event.commandId}`) };
    case 'commandExited':
      return {};
    case 'cancelling':
      return { line: plainLine(`csc: ending it, as ${event.principal} asked`), now: 'ending it' };
    case 'away':
      return { line: plainLine(`csc: its executor ${describeAbsence(event, event.at)}`) };
    case 'lost':
      return { line: plainLine(`csc: LOST for a while: ${event.reason}`) };
    case 'returned':
      return {
        line: plainLine(`csc: ${event.executorId} is back, and has it`),
        now: plainLine(`running on ${event.executorId}`),
      };
    case 'finished':
      return {};
  }
}

const verdicts = new Map([
  ['approve', 'approved by'],
  ['reject', 'REJECTED by'],
  ['break_glass', 'THE GLASS WAS BROKEN by'],
]);

function describeReview({ approver, group, verdict, reason, missing }: EventOf<'reviewed'>): string {
  const why = reason === '' ? '' : `: ${reason}`;
  const rest = missing === '' ? '' : `; still missing: ${missing}`;
  return `csc: ${verdicts.get(verdict) ?? verdict} ${approver} (${group})${why}${rest}`;
}

/** The same where gate and executor are this process: only what the executor wants its submitter to know. */
export function narrateBriefly(event: ExecutionEvent): Narration {
  const { now } = narrate(event);
  const notes = event.type === 'started' ? toNotes(event).map(plainLine) : [];
  return {
    ...(notes.length === 0 ? {} : { line: notes.join('\n') }),
    ...(now === undefined ? {} : { now }),
  };
}

function toNotes({ notes }: EventOf<'started'>): string[] {
  return notes.map((text) => `csc: ${text}`);
}

function narrateDecision(event: EventOf<'decided'>): Narration {
  const { decision, executionId, waitsUntil } = event;
  if (decision === undefined || decision.verdict === Verdict.DENY) return {};
  const asks = decision.verdict === Verdict.NEEDS_APPROVAL;
  const verdict = asks ? 'needs an approval' : 'allowed';
  const until =
    asks && waitsUntil !== undefined ? `, and starts by ${waitsUntil.toISOString()} or never` : '';
  return {
    line: plainLine(`csc: execution ${executionId}: ${verdict} by policy ${decision.policyProfile}${until}`),
    now: 'waiting for an executor',
  };
}
