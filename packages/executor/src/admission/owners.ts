import type { Approvers } from '@csc-fleet/common/approval';
import { CscError } from '@csc-fleet/common/errors';
import {
  describeFreeze,
  type Freeze,
  type HostRule,
  type Issuer,
  type OwnersLog,
  type RevocationSubject,
  type Revocations,
} from '@csc-fleet/common/owners';
import type { Bindings, PolicySet } from '@csc-fleet/common/policy';

/** All that the owners of a fleet say at one moment, as this host knows it. A run keeps the one it was admitted under. */
export interface OwnersWord {
  readonly policies: PolicySet;
  /** Absent: policies lie in a plain directory, and the gate is trusted to say who may use which. */
  readonly bindings?: Bindings;
  /** Absent: only this host's own ceiling bounds it. */
  readonly hosts?: readonly HostRule[];
  /** Whose tokens say who a CI job is. Absent: nobody's. */
  readonly issuers?: readonly Issuer[];
  /** Which log of receipts is the fleet's. Absent: they do not say. */
  readonly log?: OwnersLog;
  readonly revocations?: Revocations;
  /** Without whom and what is revoked. Absent: no approval counts that somebody has signed. */
  readonly approvers?: Approvers;
  /** Absent: nothing is frozen. */
  readonly freeze?: Freeze;
  /** Of the policy repository. Absent: there is none. */
  readonly version?: number;
  /** When this host last took it. Absent: there is none. */
  readonly refreshedAt?: Date;
  /**
   * When whoever keeps the repository's online key last signed that there was nothing newer. Absent: an older one says
   * no date.
   */
  readonly signedAt?: Date;
  /** When the owners signed it. Absent: as above. */
  readonly ownersSignedAt?: Date;
}

/** Where a host has its owners' word from. */
export interface Owners {
  current(): OwnersWord;
  /**
   * Resolves once the newer word that this host was told of counts, or has been waited for long enough. Undefined, or
   * absent: it was told of none.
   */
  hearing?(): Promise<void> | undefined;
}

/** How old the owners' word may be, in milliseconds. */
export interface FreshnessRules {
  /** Since it was signed that there was nothing newer, or, where that says no date, since this host took it. */
  readonly maxStalenessMs: number;
  /** Since the owners signed it themselves. Absent: until what they signed expires. */
  readonly maxOwnersAgeMs?: number;
}

/**
 * Throws POLICY_STALE where the owners may have said something else for longer than the rules let them, or where the word
 * is of more than a minute from now: a clock that was set back would otherwise keep it fresh for as long. It goes by what is
 * signed, so that nobody makes it younger by handing it over late; only the owners' own date binds a gate that
 * keeps the online key.
 */
export function checkFresh(word: OwnersWord, now: Date, rules: FreshnessRules): void {
  const { refreshedAt, signedAt, ownersSignedAt } = word;
  if (refreshedAt === undefined) return;
  if (signedAt === undefined) checkAge({ at: refreshedAt, ...heard }, now, rules.maxStalenessMs);
  else checkAge({ at: signedAt, ...vouched }, now, rules.maxStalenessMs);
  if (rules.maxOwnersAgeMs === undefined) return;
  if (ownersSignedAt === undefined) {
    const message = `the owners' files say no date of their signature, and this host asks for one (max_owners_age_sec): ${owned.advice}`;
    throw new CscError('POLICY_STALE', message);
  }
  checkAge({ at: ownersSignedAt, ...owned }, now, rules.maxOwnersAgeMs);
}

interface Aged {
  readonly what: string;
  readonly bound: string;
  readonly advice: string;
}

const heard: Aged = {
  what: 'this host last heard from the policy repository',
  bound: 'max_staleness_sec',
  advice: 'see to it that gate or directory serves the repository, and that it is published',
};
const vouched: Aged = {
  what: 'that the policy repository has nothing newer was last signed',
  bound: 'max_staleness_sec',
  advice:
    'see to it that csc policy publish runs by a timer, or the gate has its online_key, and that what is published gets here',
};
const owned: Aged = {
  what: 'the owners signed their files',
  bound: 'max_owners_age_sec',
  advice: 'they are to run csc policy sign, and csc policy publish',
};

// Of clocks that do not go the same.
const toleranceMs = 60_000;

function checkAge({ at, what, bound, advice }: Aged & { readonly at: Date }, now: Date, maxMs: number): void {
  const ageMs = now.getTime() - at.getTime();
  if (ageMs <= maxMs && ageMs >= -toleranceMs) return;
  const when = `${what} at ${at.toISOString()}`;
  throw new CscError(
    'POLICY_STALE',
    ageMs < 0
      ? `${when}, which is still to come: set the clocks right, here and where it was signed`
      : `${when}, which is longer ago than this host's ${bound} (${maxMs / 1000}): ${advice}`,
  );
}

/** Throws NOT_PERMITTED where the owners have frozen the fleet. */
export function checkNotFrozen({ freeze }: OwnersWord): void {
  if (freeze === undefined) return;
  throw new CscError('NOT_PERMITTED', `EMERGENCY_DENY_ALL: ${describeFreeze(freeze)}`);
}

/** True where what runs is to be ended at once, and not only what comes is refused. */
export function endsRunning({ freeze, revocations }: OwnersWord, subject: RevocationSubject): boolean {
  return freeze?.running === 'end' || revocations?.find(subject)?.running === 'end';
}
