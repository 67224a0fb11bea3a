import { type Clock, toTimestamp } from '@csc-fleet/common/encoding';
import { parseIdentity } from '@csc-fleet/common/identity';
import { ExecutorStatus, type ListExecutorsResponse } from '@csc-fleet/common/messages';
import type { HostNames, Revocation } from '@csc-fleet/common/owners';
import type { PolicySet } from '@csc-fleet/common/policy';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions } from '../execution/executions.ts';
import { isTerminal } from '../execution/row.ts';
import { type Absences, absenceOf } from '../schedule/absences.ts';
import type { Peer } from '../schedule/peer.ts';
import type { Peers } from '../schedule/peers.ts';
import type { Store } from '../store/store.ts';

export interface RosterPorts {
  readonly store: Pick<Store, 'keepExecutor' | 'executors'>;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

// One that is there is written down this often, for a gate that is killed.
const writeEveryMs = 60_000;
// Nobody waits for it.
const withinMs = 1000;

/** Every executor that has ever come, with what it said of itself last: a host that is gone is missed by its name. */
export class Roster {
  readonly #ports: RosterPorts;
  readonly #writtenAt = new WeakMap<Peer, number>();

  constructor(ports: RosterPorts) {
    this.#ports = ports;
  }

  /** It has said Hello. */
  came(peer: Peer): void {
    peer.seenAt = this.#ports.clock.now();
    this.#write(peer);
  }

  /** It is still there. */
  heard(peer: Peer): void {
    peer.seenAt = this.#ports.clock.now();
    if (peer.seenAt.getTime() - (this.#writtenAt.get(peer) ?? 0) >= writeEveryMs) this.#write(peer);
  }

  left(peer: Peer): void {
    this.#write(peer);
  }

  #write(peer: Peer): void {
    this.#writtenAt.set(peer, peer.seenAt.getTime());
    const told = ExecutorStatus.encode(describe(peer, [], 'away')).finish();
    const row = { executor_id: peer.id, seen_at: toTimestamp(peer.seenAt), told };
    this.#ports.store.keepExecutor(row, withinMs).catch(this.#ports.onError);
  }
}

export interface FleetPorts {
  readonly store: Pick<Store, 'executors'>;
  readonly scheduler: { readonly peers: Pick<Peers, 'all' | 'get'> };
  readonly policies: Pick<PolicySet, 'byName'>;
  readonly executions: Pick<Executions, 'open'>;
  readonly absences: Pick<Absences, 'of'>;
  readonly owners: { revocationOf(host: HostNames): Revocation | undefined };
}

const maxExecutors = 1000;

/** The executors that are connected, and those that were, by name. For admins. */
export async function listExecutors(ports: FleetPorts): Promise<ListExecutorsResponse> {
  const { store, scheduler, policies } = ports;
  const differing = ({ policies: held }: Pick<ExecutorStatus, 'policies'>): string[] =>
    held.flatMap(({ name, sha256 }) => {
      const own = name === '' ? undefined : policies.byName(name);
      return own === undefined || own.sha256 === sha256 ? [] : [name];
    });
  const held = Map.groupBy(ports.executions.open(), ({ row }) =>
    isTerminal(row.state) ? null : row.executor_id,
  );
  const connected = [...scheduler.peers.all()].map((peer) => describe(peer, differing(peer), 'connected'));
  const away = (await store.executors(maxExecutors))
    .filter((row) => scheduler.peers.get(row.executor_id) === undefined)
    .map((row) => ExecutorStatus.decode(row.told))
    .map((told) => ({ ...told, differing: differing(told), ...leftWith(ports, held.get(told.identity)) }));
  const executors = [...connected, ...away]
    .map((it) => ({ ...it, revoked: revokedAs(it, ports) }))
    .sort((one, two) => (one.identity < two.identity ? -1 : 1));
  return { executors: executors.slice(0, maxExecutors) };
}

// As hosts find themselves in revoked.yaml. What key one has that is away is not asked for.
function revokedAs({ identity }: ExecutorStatus, { owners, scheduler }: FleetPorts): string {
  const executorId = parseIdentity(identity)?.name ?? '';
  const { receiptKey } = scheduler.peers.get(identity) ?? {};
  const names = { executorId, identity, ...(receiptKey === undefined ? {} : { receiptKey }) };
  const found = owners.revocationOf(names);
  if (found === undefined) return '';
  const by = found.kind === 'key' ? 'its key, ' : '';
  return `${by}since ${found.since}: ${found.reason}`;
}

// What becomes LOST if it does not come back.
function leftWith(
  { absences }: FleetPorts,
  own: readonly LiveExecution[] = [],
): Partial<Pick<ExecutorStatus, 'running' | 'absence'>> {
  const [first] = own;
  return first === undefined ? {} : { running: own.length, absence: absenceOf({ absences }, first) };
}

function describe(peer: Peer, differing: string[], presence: 'connected' | 'away'): ExecutorStatus {
  const isConnected = presence === 'connected';
  return {
    identity: peer.id,
    connected: isConnected,
    resting: isConnected ? peer.restingBecause : '',
    labels: { ...peer.labels },
    slots: peer.slots,
    running: isConnected ? peer.assigned.size : 0,
    version: peer.version,
    executionMode: peer.executionMode,
    sandbox: [...peer.sandbox],
    policies: peer.policies,
    differing,
    lastSeen: peer.seenAt,
    certificate: peer.certificate,
    wouldRefuse: peer.wouldRefuse,
    absence: undefined,
    revoked: '',
  };
}
