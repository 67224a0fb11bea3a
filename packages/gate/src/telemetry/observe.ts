import {
  createInstruments,
  createTimed,
  type Instruments,
  type Timed,
  untimed,
} from '@csc-fleet/common/telemetry';
import type { Meter } from '@opentelemetry/api';
import { executorName } from '../execution/row.ts';
import type { Roster } from '../link/roster.ts';
import type { Cosigning } from '../log/cosigning.ts';
import type { ReceiptLog } from '../log/receipt-log.ts';
import type { Breakers } from '../schedule/breakers.ts';
import type { Peer } from '../schedule/peer.ts';
import type { Peers } from '../schedule/peers.ts';
import { type GateStage, gateInstruments } from './instruments.ts';
import { RunWatch, reasonIn } from './run-watch.ts';

type Told = Instruments<typeof gateInstruments>;

/** What a gate tells of its work while it does it. */
export interface GateTelemetry {
  readonly told: Told;
  readonly timed: Timed<GateStage>;
  readonly runs: RunWatch;
}

/** @param monotonicMs milliseconds of a clock that never jumps */
export function createGateTelemetry(meter: Meter, monotonicMs: () => number): GateTelemetry {
  const told = createInstruments(meter, gateInstruments);
  return {
    told,
    timed: createTimed<GateStage>((stage, seconds) => told.record('csc_stage_seconds', { stage }, seconds)),
    runs: new RunWatch(told, monotonicMs),
  };
}

/** Where nobody asks, nothing is measured. */
export function timedBy(telemetry: GateTelemetry | undefined): Timed<GateStage> {
  return telemetry?.timed ?? untimed;
}

/** What a gate's instruments look at when somebody looks at them. */
export interface GateFacts {
  readonly scheduler: {
    readonly peers: Pick<Peers, 'all'>;
    readonly breakers: Pick<Breakers, 'faultsOf'>;
    /** How many of each principal's wait. */
    waiting(): Iterable<readonly [principal: string, count: number]>;
  };
  readonly owners: { readonly freeze: () => unknown };
  /** Executors that were here before this gate began. */
  readonly known: readonly { readonly executor_id: string; readonly seen_at: string }[];
  readonly storeWritable: () => boolean;
  /** Absent: it keeps none. */
  readonly log?: Pick<ReceiptLog, 'current' | 'trouble'> | undefined;
  /** Absent: nobody is asked to cosign it. */
  readonly cosigning?: Pick<Cosigning, 'cosigned' | 'failing'> | undefined;
  readonly now: () => Date;
}

// A host that is away for longer was taken out of the fleet: nobody is to be woken for it for ever.
const missedForMs = 7 * 24 * 60 * 60 * 1000;
const mostKnown = 1000;

/** Has a gate's instruments ask it. Gives what is to be called for each executor that has said Hello. */
export function observeGate({ told }: GateTelemetry, facts: GateFacts): (peer: Peer) => void {
  const { scheduler, owners, storeWritable, now } = facts;
  const seen = new Map<string, number>();
  for (const { executor_id: id, seen_at: at } of facts.known)
    seen.set(executorName(id), new Date(at).getTime());
  const connected = (): Peer[] => [...scheduler.peers.all()];
  told.observe('csc_queue_depth', (say) => {
    for (const [principal, count] of scheduler.waiting()) say(count, { principal });
  });
  told.observe('csc_host_up', (say) => {
    const at = now().getTime();
    for (const { name } of connected()) remember(seen, name, at);
    const here = new Set(connected().map(({ name }) => name));
    for (const [executor, seenAt] of seen) {
      if (at - seenAt > missedForMs) seen.delete(executor);
      else say(here.has(executor) ? 1 : 0, { executor });
    }
  });
  told.observe('csc_host_takes_work', (say) => {
    for (const peer of connected())
      say(peer.resting || peer.unanswered.size > 0 ? 0 : 1, { executor: peer.name });
  });
  told.observe('csc_host_slots', (say) => {
    for (const { name, slots } of connected()) say(slots, { executor: name });
  });
  told.observe('csc_host_running', (say) => {
    for (const { name, assigned } of connected()) say(assigned.size, { executor: name });
  });
  told.observe('csc_host_clock_skew_seconds', (say) => {
    for (const { name, skew } of connected()) say(skew.ms / 1000, { executor: name });
  });
  told.observe('csc_host_breaker_open', (say) => {
    for (const { id, name } of connected())
      for (const { why } of scheduler.breakers.faultsOf(id))
        say(1, { executor: name, reason: reasonIn(why) ?? 'unsaid' });
  });
  told.observe('csc_store_writable', (say) => say(storeWritable() ? 1 : 0, {}));
  observeLog(told, facts);
  told.observe('csc_fleet_frozen', (say) => say(owners.freeze() === undefined ? 0 : 1, {}));
  return ({ name }) => {
    remember(seen, name, now().getTime());
    told.add('csc_host_connects_total', { executor: name });
  };
}

function observeLog(told: Told, { log, cosigning }: GateFacts): void {
  if (log === undefined) return;
  told.observe('csc_log_writable', (say) => say(log.trouble === undefined ? 1 : 0, {}));
  told.observe('csc_log_entries', (say) => say(log.current?.size ?? 0, {}));
  if (cosigning === undefined) return;
  told.observe('csc_log_cosigned_entries', (say) => say(cosigning.cosigned?.size ?? 0, {}));
  told.observe('csc_log_witnesses_failing', (say) => say(cosigning.failing.length, {}));
}

function remember(seen: Map<string, number>, name: string, at: number): void {
  if (seen.has(name) || seen.size < mostKnown) seen.set(name, at);
}

/** A roster that also tells who comes. */
export function tellingOf(
  roster: Pick<Roster, 'came' | 'heard' | 'left'>,
  came: (peer: Peer) => void,
): Pick<Roster, 'came' | 'heard' | 'left'> {
  return {
    came: (peer) => {
      roster.came(peer);
      came(peer);
    },
    heard: (peer) => roster.heard(peer),
    left: (peer) => roster.left(peer),
  };
}
