import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseStrictJson } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile, replaceFile } from '@csc-fleet/common/files';
import { validate } from '@csc-fleet/common/schema';
import type { Log } from '@csc-fleet/common/service';
import { advised, type Check } from '@csc-fleet/sandbox/host';
import * as z from 'zod';

/** What a gate was brought and does not take, as it is beside the journal, in this file. */
export const untakenRecordFile = 'receipts-untaken.json';

const recordSchema = z.strictObject({
  /** Of the receipts that the gate does not acknowledge: all, those that were brought first to begin with. */
  executions: z.array(z.string()).min(1),
});

/** The same, parsed. */
export type UntakenRecord = z.infer<typeof recordSchema>;

/** A receipt that the gate was brought in this connection, and has not acknowledged. */
export interface BroughtReceipt {
  readonly executionId: string;
  /** Whether output comes with it, which the gate is to have first. */
  readonly hasOutput: boolean;
}

export interface UntakenWatchPorts {
  readonly brought: () => readonly BroughtReceipt[];
  /** How long the gate has been there since this host was started, in all connections together, in milliseconds. */
  readonly connectedMs: () => number;
  readonly stateDir: string;
  readonly log: Log;
}

// In milliseconds in which the gate was there: it acknowledges what counts as soon as it is on its disk.
const patienceMs = 10 * 60_000;
const patienceWithOutputMs = 60 * 60_000;
const roundMs = 30_000;
const mostNamed = 16;
// Names of as many as are owed at most.
const maxBytes = 2 * 1024 * 1024;

const giveUp = 'csc executor receipts give-up EXECUTION --out FILE takes one back from it';
const untakenNote = `receipts that the gate was brought are not acknowledged by it, though it was there: it cannot write, or they do not verify there, which its log says. This host brings them for ever; ${giveUp}`;

/**
 * Sees what the gate does not take, though it is there: a receipt that never counts there is owed for ever, and takes of the
 * room for what is owed. It stays owed, until the gate takes it or the host's operator takes it back: this says so.
 */
export class UntakenWatch {
  readonly #ports: UntakenWatchPorts;
  #timer: NodeJS.Timeout | undefined;
  /** When each was seen to be brought first, as `connectedMs` has it. */
  #since: ReadonlyMap<string, number> = new Map();
  /** Executions that were told of. */
  #told: ReadonlySet<string> = new Set();
  /** As they are in the file: what was not taken before a restart need not wait once more. */
  #kept: readonly string[];

  constructor(ports: UntakenWatchPorts) {
    this.#ports = ports;
    this.#kept = this.#read();
  }

  /** As of the last round. */
  get count(): number {
    return this.#kept.length;
  }

  start(): void {
    this.#timer = setInterval(() => this.round(), roundMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  round(): void {
    const { brought, connectedMs, log } = this.#ports;
    const now = connectedMs();
    // It has not been there since the start: nothing has changed.
    if (now === 0) return;
    const owed = brought();
    const before = this.#since;
    this.#since = new Map(owed.map(({ executionId: id }) => [id, before.get(id) ?? now]));
    const known = new Set(this.#kept);
    const untaken = owed
      .filter(({ executionId: id, hasOutput }) => {
        const waitedMs = now - (this.#since.get(id) ?? now);
        return known.has(id) || waitedMs >= (hasOutput ? patienceWithOutputMs : patienceMs);
      })
      .map(({ executionId }) => executionId);
    // Each once; what is still so after a restart is told again.
    if (untaken.some((it) => !this.#told.has(it)))
      log.error({ untaken: untaken.length, executions: untaken.slice(0, mostNamed) }, untakenNote);
    this.#told = new Set(untaken);
    this.#keep(untaken);
  }

  #read(): readonly string[] {
    try {
      return readUntaken(this.#ports.stateDir)?.executions ?? [];
    } catch (error) {
      this.#ports.log.warn({ error }, 'which receipts the gate did not take cannot be read');
      return [];
    }
  }

  // Written where it says something else than before.
  #keep(executions: readonly string[]): void {
    if (JSON.stringify(executions) === JSON.stringify(this.#kept)) return;
    this.#kept = executions;
    const file = join(this.#ports.stateDir, untakenRecordFile);
    try {
      if (executions.length === 0) rmSync(file, { force: true });
      else replaceFile(file, `${JSON.stringify({ executions }, undefined, 2)}\n`, 0o600);
    } catch (error) {
      this.#ports.log.warn({ error }, 'which receipts the gate does not take cannot be written down');
    }
  }
}

/** For the host's owner who looks at it; nothing where all is well. Throws CONFIG_INVALID, FILE_UNREADABLE. */
export function checkUntaken(stateDir: string): readonly Check[] {
  const record = readUntaken(stateDir);
  if (record === undefined) return [];
  const { executions } = record;
  const named = `${executions.slice(0, 3).join(', ')}${executions.length > 3 ? ', …' : ''}`;
  const detail = `${executions.length} receipts were brought to the gate, which was there and has not acknowledged them (${named}); with 4,096 owed this host takes nothing new`;
  const remedy = `see the gate’s log, which says why one does not count, and mend that; else ${giveUp}, while the executor is stopped`;
  return [advised('receipts-taken', detail, remedy)];
}

/** Undefined where the gate takes all. Throws CONFIG_INVALID, FILE_UNREADABLE. */
export function readUntaken(stateDir: string): UntakenRecord | undefined {
  const file = join(stateDir, untakenRecordFile);
  if (!existsSync(file)) return undefined;
  const { bytes } = readBoundedFile(file, { maxBytes });
  const value = orThrow(parseStrictJson(bytes, { maxBytes }), 'CONFIG_INVALID', file);
  return orThrow(validate(recordSchema, value), 'CONFIG_INVALID', file);
}
