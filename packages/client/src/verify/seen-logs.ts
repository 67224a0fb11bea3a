import { inTurn, type SharedMemory } from './in-turn.ts';

/** A receipt that the log must have: of its two forms, the one in its executor's chain. */
export interface OwedReceipt {
  readonly executionId: string;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** What was met of a log, or where one is asked for. */
export interface SeenLog {
  /** Of a log: the newest checkpoint that adds to all before it, a signed note. Absent: none yet. */
  readonly checkpoint?: string;
  /** Of a place: receipts that were not proven yet. */
  readonly owed: readonly OwedReceipt[];
  /** Of a place, where no key is demanded: the one that was met first, when that was, and when it was asked last, ISO 8601. */
  readonly firstUse?: { readonly vkey: string; readonly metAt: string; readonly askedAt: string };
  /** Of a place: that the log was found false there, and has not been seen true since. */
  readonly accused?: AccusedLog;
}

/** That a log is false, as it was found. */
export interface AccusedLog {
  /** The name of the log. */
  readonly origin: string;
  /** The log's vkey. */
  readonly vkey: string;
  readonly message: string;
  /** ISO 8601. */
  readonly at: string;
  /** Where the evidence is, for people. Empty: nowhere. */
  readonly evidence: string;
}

/**
 * What was met of logs, so that a gate cannot show one log today and another tomorrow. Keep it between processes, or each
 * begins anew. What a log has signed is kept by its vkey, whoever asked; what is owed by a place, that is who asks where, as
 * nobody may ask for what another is owed.
 */
export interface SeenLogs extends SharedMemory {
  /** `name` is a vkey or a place. */
  seenOf(name: string): Promise<SeenLog>;
  /** Replaces it. */
  keep(name: string, seen: SeenLog): Promise<void>;
  /** Keeps what proves that a log is false, beside all that was met; resolves to where, for people; empty: nowhere. */
  accuse(origin: string, evidence: LogEvidence): Promise<string>;
}

/** What a log is accused by. */
export interface LogEvidence {
  readonly message: string;
  /** Both signed by the log. Empty: there is none. */
  readonly seenCheckpoint: string;
  readonly shownCheckpoint: string;
  readonly receipts: readonly OwedReceipt[];
}

/** Forgets everything with the process. */
export function createSeenLogs(): SeenLogs {
  const logs = new Map<string, SeenLog>();
  return {
    seenOf: async (name) => logs.get(name) ?? { owed: [] },
    keep: async (name, seen) => {
      logs.set(name, seen);
    },
    accuse: async () => '',
  };
}

/** What is owed there, without these, which somebody was told of. */
export function forgetOwed(seen: SeenLogs, place: string, told: readonly OwedReceipt[]): Promise<void> {
  return inTurn(seen, async () => {
    const now = await seen.seenOf(place);
    await seen.keep(place, { ...now, owed: without(now.owed, told) });
  });
}

/** The log was seen true there, after it had been found false as it says: what was found since stays said. */
export function acquit(
  seen: SeenLogs,
  place: string,
  { vkey, at }: { readonly vkey: string; readonly at: string | undefined },
): Promise<void> {
  return inTurn(seen, async () => {
    const { accused, ...now } = await seen.seenOf(place);
    const isSame = accused?.vkey === vkey && accused.at === at;
    if (isSame) await seen.keep(place, now);
  });
}

export function without(owed: readonly OwedReceipt[], others: readonly OwedReceipt[]): OwedReceipt[] {
  return owed.filter((it) => !others.some((other) => isOne(it, other)));
}

function isOne(one: OwedReceipt, other: OwedReceipt): boolean {
  return one.executionId === other.executionId && one.sha256 === other.sha256;
}
