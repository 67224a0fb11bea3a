import type { Clock } from '@csc-fleet/common/encoding';
import {
  ExecutionState,
  type Frozen,
  type GetStatusResponse,
  type PolicyVersion,
  type Validity,
  type Waiting,
} from '@csc-fleet/common/messages';
import type { Freeze } from '@csc-fleet/common/owners';
import type { Bindings, PolicySet } from '@csc-fleet/common/policy';
import { version } from '@csc-fleet/common/version';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions, Principal } from '../execution/executions.ts';
import { isAdmin } from '../execution/readers.ts';
import { missingOf } from '../execution/reviews.ts';
import { toExecution } from '../execution/row.ts';
import type { Breakers } from '../schedule/breakers.ts';
import type { Peers } from '../schedule/peers.ts';
import type { Said, Scheduler } from '../schedule/scheduler.ts';

export interface StatusPorts {
  readonly gateId: string;
  readonly startedAt: Date;
  readonly policies: Pick<PolicySet, 'all'>;
  readonly bindings: Bindings;
  /** Gives undefined where nothing is frozen. */
  readonly owners: { readonly freeze: () => Freeze | undefined };
  readonly executions: Pick<Executions, 'moving'>;
  readonly scheduler: Pick<Scheduler, 'whyWaits' | 'awaitedHost'> & {
    readonly peers: Pick<Peers, 'all'>;
    readonly breakers: Pick<Breakers, 'faultsOf'>;
  };
  /** When the gate's own certificate counts. Absent: it has none. */
  readonly certificate?: (() => Validity | undefined) | undefined;
  /** What its owner should look at, for people. */
  readonly warnings?: (() => readonly string[]) | undefined;
  readonly clock: Clock;
}

const maxWaiting = 1000;

/**
 * How the gate is, and whether the owners have frozen the fleet. A principal sees which of its own executions wait, and
 * for what; what others have, which policies there are and what the owner should look at is for admins.
 */
export function getStatus(ports: StatusPorts, principal: Principal): GetStatusResponse {
  const { gateId, startedAt, bindings, owners, policies, executions, certificate, warnings } = ports;
  const admin = isAdmin(bindings, principal);
  const waiting = [...executions.moving()].filter(
    ({ row }) => isWaiting(row.state) && (admin || row.principal === principal.uri),
  );
  const said: Said = new Map();
  return {
    gateId,
    version,
    startedAt,
    certificate: certificate?.(),
    admin,
    policies: admin ? policies.all().map(toVersion) : [],
    waiting: waiting
      .slice(0, maxWaiting)
      .map((execution) => toWaiting(execution, whyWaits(ports.scheduler, execution, said))),
    waitingTotal: waiting.length,
    frozen: toFrozen(owners.freeze()),
    warnings: admin ? [...(warnings?.() ?? []), ...faults(ports), ...trials(ports)] : [],
  };
}

function toFrozen(freeze: Freeze | undefined): Frozen | undefined {
  if (freeze === undefined) return undefined;
  return { since: new Date(freeze.since), reason: freeze.reason, endsRunning: freeze.running === 'end' };
}

// A host that is passed over costs a fleet a part of itself, and nobody's work shows it.
function faults({ scheduler }: StatusPorts): string[] {
  return [...scheduler.peers.all()].flatMap(({ id, name }) =>
    scheduler.breakers
      .faultsOf(id)
      .map(
        ({ principal, why }) =>
          `${name} is passed over for what ${principal} submits: it had to refuse, ${why}`,
      ),
  );
}

// Whoever is to end a trial need not read every host's log.
function trials({ scheduler }: StatusPorts): string[] {
  return [...scheduler.peers.all()]
    .filter(({ wouldRefuse }) => wouldRefuse > 0)
    .map(({ name, wouldRefuse }) => {
      const what = wouldRefuse === 1 ? '1 contract' : `${wouldRefuse} contracts`;
      return `since its start, ${name} has run ${what} that it will refuse once enforce is no longer warn; its log says why`;
    });
}

function isWaiting(state: number): boolean {
  return (
    state === ExecutionState.AWAITING_APPROVAL ||
    state === ExecutionState.QUEUED ||
    state === ExecutionState.OFFERED
  );
}

function toVersion({ policy: { name }, sha256 }: ReturnType<PolicySet['all']>[number]): PolicyVersion {
  return { name, sha256 };
}

// Who has agreed, and who must yet.
function describeReviews(execution: LiveExecution): string {
  const agreed = execution.reviews.map(({ approver, group }) => `${approver} (${group})`);
  const missing = missingOf(execution);
  return [
    ...(missing === '' ? [] : [`: ${missing}`]),
    ...(agreed.length === 0 ? [] : [`; agreed: ${agreed.join(', ')}`]),
  ].join('');
}

function toWaiting({ row }: LiveExecution, reason: string): Waiting {
  const isForApproval = row.state === ExecutionState.AWAITING_APPROVAL;
  const until = isForApproval ? row.decision_expires_at : row.queue_deadline;
  return {
    execution: toExecution(row),
    reason,
    until: until === null ? undefined : new Date(until),
    selector: JSON.parse(row.selector_json) as Record<string, string>,
  };
}

function whyWaits(scheduler: StatusPorts['scheduler'], execution: LiveExecution, said: Said): string {
  const { id, row } = execution;
  if (row.state === ExecutionState.AWAITING_APPROVAL) return `an approval${describeReviews(execution)}`;
  if (row.state === ExecutionState.OFFERED) return 'the answer of the executor that it was offered to';
  const host = scheduler.awaitedHost(id);
  if (host !== undefined) return `its submitter, who is to name ${host.name} in the submission`;
  return scheduler.whyWaits(id, said);
}
