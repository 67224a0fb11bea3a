import type { Clock } from '@csc-fleet/common/encoding';
import type { Heartbeat, Hello } from '@csc-fleet/common/messages';
import type { LogFields, LogMessage } from '@csc-fleet/common/service';
import type { Peer } from '../schedule/peer.ts';
import type { Scheduler } from '../schedule/scheduler.ts';

export interface ConditionPorts {
  readonly clock: Clock;
  readonly scheduler: Pick<Scheduler, 'place'>;
  readonly onNotice: (message: LogMessage<'info'>, details: LogFields) => void;
}

/** What an executor says of how it is, with its Hello and each heartbeat. */
export type Condition = Pick<Hello, 'sentAt' | 'shortage'> & Partial<Pick<Heartbeat, 'wouldRefuse'>>;

/** Takes what an executor says of how it is: where that changes whether it gets anything, its owner is told. */
export function takeCondition(ports: ConditionPorts, peer: Peer, said: Condition): void {
  if (said.wouldRefuse !== undefined) takeTrials(ports, peer, said.wouldRefuse);
  takeTime(ports, peer, said.sentAt);
  takeShortage(ports, peer, said.shortage);
}

// Its owner tries out what it is to enforce: once this stands still, it can.
function takeTrials({ onNotice }: ConditionPorts, peer: Peer, wouldRefuse: number): void {
  if (wouldRefuse > peer.wouldRefuse)
    onNotice('an executor has run what it will refuse once it enforces', {
      executor: peer.id,
      sinceItsStart: wouldRefuse,
    });
  peer.wouldRefuse = wouldRefuse;
}

// It would refuse whatever it is offered, and is the least loaded of all.
function takeShortage({ scheduler, onNotice }: ConditionPorts, peer: Peer, shortage: string): void {
  const wasShort = peer.shortage !== '';
  peer.shortage = shortage;
  if ((shortage !== '') === wasShort) return;
  if (!wasShort)
    onNotice('an executor has no room on its disk, or no certificate that counts: nothing is placed there', {
      executor: peer.id,
      why: shortage,
    });
  else {
    onNotice('an executor takes offers again: what it lacked is there', { executor: peer.id });
    scheduler.place();
  }
}

// Beyond what a ticket can be written for it is no use to anybody, and it may be set right at any time.
function takeTime(
  { clock, scheduler, onNotice }: ConditionPorts,
  peer: Peer,
  sentAt: Date | undefined,
): void {
  const wasTooFar = peer.skew.isTooFar;
  peer.heardTime(sentAt, clock.now());
  if (peer.skew.isTooFar === wasTooFar) return;
  const clockIs = `${peer.skew} this gate's`;
  if (!wasTooFar)
    onNotice('the clock of an executor is too far off: nothing is placed there', {
      executor: peer.id,
      clockIs,
    });
  else {
    onNotice('the clock of an executor is right again', { executor: peer.id, clockIs });
    scheduler.place();
  }
}
