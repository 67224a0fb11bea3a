import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { openResolution } from '@csc-fleet/common/evidence';
import {
  ExecutionState,
  type ResolveRequest,
  type ResolveResponse,
  toDuration,
} from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import type { Finisher } from '../execution/finisher.ts';
import { executorName, toExecution } from '../execution/row.ts';
import type { Owners } from '../owners/index.ts';
import { type Absences, absenceOf } from './absences.ts';
import type { Scheduler } from './scheduler.ts';

export interface ResolvePorts {
  readonly executions: Pick<Executions, 'find'>;
  readonly scheduler: Pick<Scheduler, 'peers' | 'offers' | 'place'>;
  readonly finisher: Pick<Finisher, 'resolved' | 'ending'>;
  readonly owners: Pick<Owners, 'signers'>;
  readonly absences: Pick<Absences, 'of'>;
  readonly executorLostAfterSec: number;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
}

/**
 * Ends an execution whose executor does not come back, by the word of the owners: this gate has no key that could say so.
 * Its slot and its principal's limits are free then, and a receipt that comes all the same is kept beside it. Does nothing
 * where that was said before. Throws EXECUTION_UNKNOWN, RESOLUTION_INVALID, STORE_UNAVAILABLE.
 */
export async function resolve(ports: ResolvePorts, request: ResolveRequest): Promise<ResolveResponse> {
  const { executions, finisher, trustDomain } = ports;
  const execution = await executions.find(request.executionId);
  if (execution === undefined)
    throw new CscError('EXECUTION_UNKNOWN', 'there is no such execution: check the whole id, and the gate');
  await finisher.ending(execution.id);
  if (execution.resolutions.length === 0) {
    checkStuck(ports, execution);
    if (request.resolutionsJson.length > 0) await end(ports, execution, request.resolutionsJson);
  }
  return {
    execution: toExecution(execution.row),
    trustDomain,
    resolutionsJson: [...execution.resolutions],
    absence: absenceOf(ports, execution),
  };
}

async function end(ports: ResolvePorts, execution: LiveExecution, texts: readonly Buffer[]): Promise<void> {
  const { owners, trustDomain, clock, finisher, scheduler, onNotice } = ports;
  const signers = owners.signers();
  if (signers === undefined)
    throw invalid(
      'this gate has no policy_repository, and so it does not know whose keys sign for the owners',
    );
  const { id, row } = execution;
  const { contract_sha256: contractSha256, executor_id: executorId, ticket_id: ticketId } = row;
  const subject = { executionId: id, contractSha256, trustDomain, executorId: executorName(executorId) };
  const { reason, keyIds } = openResolution(texts, { owners: signers, ...subject, handedInAt: clock.now() });
  const offer =
    executorId === null || ticketId === null ? undefined : { ticket_id: ticketId, executor_id: executorId };
  const error = `resolved by the owners, and what of it ran nobody knows: ${reason}`;
  await finisher.resolved(execution, error, texts, offer);
  onNotice('the owners have resolved an execution', { executionId: id, reason, keys: keyIds });
  scheduler.offers.remove(id);
  const peer = scheduler.peers.get(executorId ?? '');
  peer?.assigned.delete(id);
  // It is there, and has not ended it: nobody waits for that any more.
  peer?.send({ $case: 'cancel', value: { executionId: id, gracePeriod: toDuration(0) } });
  scheduler.place();
}

// Only what nobody else can end: everything else has an end that somebody knows.
function checkStuck(ports: ResolvePorts, { row, cancelGraceMs }: LiveExecution): void {
  const { absences, executorLostAfterSec } = ports;
  const { state, ended_at: endedAt, executor_id: executorId } = row;
  if (state === ExecutionState.AWAITING_APPROVAL || state === ExecutionState.QUEUED)
    throw invalid('nothing of it has begun, and so csc cancel ends it at once');
  if (endedAt !== null) throw invalid('it has ended, and has its receipt: csc get shows it');
  if (state === ExecutionState.LOST || cancelGraceMs !== undefined) return;
  const away = absences.of(executorId ?? '');
  const executor = `its executor ${executorName(executorId)}`;
  if (away === undefined)
    throw invalid(`${executor} is connected: csc cancel it, and resolve it only where it does not end then`);
  // What is resolved has no other end any more, and most hosts that are away have only lost their way here for a while.
  throw invalid(
    `${executor} has been away for ${Math.round(away.forMs / 1000)} s, and may come back with it: it is LOST after ${executorLostAfterSec} s, at ${toTimestamp(away.lostAt)}. Wait until then, or csc cancel it first where nobody wants it any more`,
  );
}

function invalid(why: string): CscError {
  return new CscError('RESOLUTION_INVALID', `it is not to be resolved: ${why}`);
}
