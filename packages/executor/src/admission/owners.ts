import { CscError } from '@csc-fleet/common/errors';
import type { Freeze, HostRule, RevocationSubject, Revocations } from '@csc-fleet/common/owners';
import type { Bindings, PolicySet } from '@csc-fleet/common/policy';

/** All that the owners of a fleet say at one moment, as this host knows it. A run keeps the one it was admitted under. */
export interface OwnersWord {
  readonly policies: PolicySet;
  /** Absent: policies lie in a plain directory, and the gate is trusted to say who may use which. */
  readonly bindings?: Bindings;
  /** Absent: only this host's own ceiling bounds it. */
  readonly hosts?: readonly HostRule[];
  readonly revocations?: Revocations;
  /** Absent: nothing is frozen. */
  readonly freeze?: Freeze;
  /** Of the policy repository. Absent: there is none. */
  readonly version?: number;
  /** When the repository last proved that there was nothing newer. Absent: there is none. */
  readonly refreshedAt?: Date;
}

/** Where a host has its owners' word from. */
export interface Owners {
  current(): OwnersWord;
}

/**
 * Throws POLICY_STALE where the owners may have said something else for longer than `maxStalenessMs`, or where the word
 * is of more than a minute from now: a clock that was set back would otherwise keep it fresh for as long.
 */
export function checkFresh({ refreshedAt }: OwnersWord, now: Date, maxStalenessMs: number): void {
  if (refreshedAt === undefined) return;
  const ageMs = now.getTime() - refreshedAt.getTime();
  if (ageMs <= maxStalenessMs && ageMs >= -60_000) return;
  if (ageMs < 0) {
    const message = `this host last heard from the policy repository at ${refreshedAt.toISOString()}, which is still to come: set its clock right`;
    throw new CscError('POLICY_STALE', message);
  }
  const message = `this host last heard from the policy repository at ${refreshedAt.toISOString()}, which is longer ago than its max_staleness_sec (${maxStalenessMs / 1000}): see to it that gate or directory serves the repository, and that it is published`;
  throw new CscError('POLICY_STALE', message);
}

/** Throws NOT_PERMITTED where the owners have frozen the fleet. */
export function checkNotFrozen({ freeze }: OwnersWord): void {
  if (freeze === undefined) return;
  const message = `EMERGENCY_DENY_ALL: the owners have frozen the fleet since ${freeze.since}: ${freeze.reason}`;
  throw new CscError('NOT_PERMITTED', message);
}

/** True where what runs is to be ended at once, and not only what comes is refused. */
export function endsRunning({ freeze, revocations }: OwnersWord, subject: RevocationSubject): boolean {
  return freeze?.running === 'end' || revocations?.find(subject)?.running === 'end';
}
