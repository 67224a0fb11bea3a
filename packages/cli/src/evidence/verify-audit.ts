import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { defaultStateDir, readBoundedFile } from '@csc-fleet/common/files';
import { parseNote, toLogTrust } from '@csc-fleet/common/tlog';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { type GateOptions, namesGate } from '../connect/gate-options.ts';
import { findDemandedLog } from '../connect/owners-log.ts';
import { openSeenLogs } from '../connect/seen-logs.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';
import { describeFaults, faultJson } from './describe-faults.ts';
import { judgeChains, openReceipts } from './found-receipts.ts';
import { readGivenTrust } from './trust.ts';
import { type LogFiles, type WalkedLog, walkRemembered } from './walk-log.ts';

/** What `csc audit verify` is told. */
export interface VerifyAuditOptions extends Omit<GateOptions, 'keys' | 'fleetCa'> {
  /** A directory with the tree of a log. Absent: the gate is asked. */
  readonly log?: string;
  /** Key ring files; these, the fleet's CA, or both. */
  readonly keys: readonly string[];
  readonly fleetCa?: string;
  /** Whose executors count. Absent: those of one. */
  readonly trustDomain?: readonly string[];
  /** What was verified before. */
  readonly remember?: string;
  readonly json?: true;
}

/** Holds the receipts that hosts have kept against the log, both ways. Resolves to 0 or 1. */
export async function verifyAudit(dir: string, options: VerifyAuditOptions): Promise<number> {
  const demanded = await findDemandedLog(options);
  if (demanded === undefined)
    throw new CscError('CONFIG_INVALID', 'it is not said whose log: give --log-vkey, or --log-of');
  const ringFor = readGivenTrust(options);
  const { entries, faults: unsound } = await openReceipts(dir, ringFor, options.trustDomain);
  const faults = [...unsound, ...judgeChains(entries, options.trustDomain).faults];
  using source = openSource(options);
  const file = options.remember ?? join(defaultStateDir(process.env), 'audited-logs.json');
  const seen = openSeenLogs(
    () => file,
    ({ message }) => note(plainLine(`csc: WARNING what was verified is not remembered: ${message}`)),
  );
  const trust = toLogTrust(demanded);
  const walked = await walkRemembered(source.read, seen, {
    trust,
    receipts: entries,
    now: new Date(),
    // A copy is of its time, as all evidence is; a gate is to show what there is now.
    isLive: options.log === undefined,
  });
  const isWell = faults.length === 0 && walked.faults.length === 0;
  if (options.json === true)
    await writeJson({
      valid: isWell,
      ...walkJson(walked),
      chains: faults.map(faultJson),
    });
  else {
    const paint = createPaint(process.stdout);
    const title = isWell ? paint(['green', 'bold'], 'VALID') : paint(['red', 'bold'], 'INVALID');
    const lines = [...describeWalk(walked, demanded.quorum), ...describeFaults(faults)];
    await writeOut(`${title}\n${lines.map((line) => `  ${plainLine(line)}\n`).join('')}`);
  }
  return isWell ? exitCodes.ok : exitCodes.no;
}

function openSource(options: VerifyAuditOptions): { readonly read: LogFiles } & Disposable {
  if (options.log !== undefined) return { read: filesOfDirectory(options.log), [Symbol.dispose]: () => {} };
  const { fleetCa: _, ...gate } = options;
  if (!namesGate({ ...gate, keys: [] }, process.env))
    throw new CscError(
      'CONFIG_INVALID',
      'it is not said where the log is: give --gate, or --log with its files',
    );
  const client = connectGate({ ...gate, keys: [] });
  return { read: (path) => client.readLogFile(path), [Symbol.dispose]: () => client.close() };
}

// A bundle of the longest entries.
const maxFileBytes = 1024 * 1024;

/** A log whose files are in a directory: a copy of a gate's `log/tree`. */
function filesOfDirectory(directory: string): LogFiles {
  if (!existsSync(join(directory, 'checkpoint')))
    throw new CscError('FILE_UNREADABLE', `${directory} has no checkpoint: is it the tree of a log?`);
  return async (path) => {
    const bytes = readIn(directory, path);
    return path === 'checkpoint' && bytes !== undefined ? withCosignatures(directory, bytes) : bytes;
  };
}

function readIn(directory: string, path: string): Uint8Array | undefined {
  const file = join(directory, path);
  return existsSync(file) ? readBoundedFile(file, { maxBytes: maxFileBytes }).bytes : undefined;
}

// Of the same checkpoint alone: an older one would look as if the log had become shorter.
function withCosignatures(directory: string, checkpoint: Uint8Array): Uint8Array {
  const cosigned = readIn(directory, 'checkpoint.cosigned');
  if (cosigned === undefined) return checkpoint;
  const [own, theirs] = [parseNote(checkpoint), parseNote(cosigned)];
  const isOfIt = own.ok && theirs.ok && own.value.text === theirs.value.text;
  return isOfIt ? cosigned : checkpoint;
}

/** What was found, for people. */
function describeWalk(walked: WalkedLog & { readonly evidence: string }, quorum: number): string[] {
  const { checkpoint, counts, cosigners, cosignedAt: at, faults, pending, evidence } = walked;
  const witnesses =
    quorum === 0 ? '' : `, cosigned by ${cosigners} of the witnesses${at === undefined ? '' : ` at ${at}`}`;
  return [
    `log ${checkpoint.origin}: ${checkpoint.size} entries${witnesses}`,
    `  ${counts.inChains} receipts of the hosts, ${counts.ofGates} of the gate, as nothing ran, ${counts.beyond} of hosts or times that are not here`,
    ...(pending === 0 ? [] : [`  ${pending} receipts of the last minutes are not in it yet`]),
    ...describeFaults(faults),
    ...(evidence === '' ? [] : [`evidence: ${evidence}`]),
  ];
}

/** The same, for programs. */
function walkJson(walked: WalkedLog & { readonly evidence: string }): object {
  const { checkpoint, counts, cosigners, cosignedAt: at, faults, pending, evidence } = walked;
  const { origin, size } = checkpoint;
  return {
    log: origin,
    size,
    cosigners,
    cosigned_at: at ?? null,
    receipts: counts,
    pending,
    faults: faults.map(faultJson),
    ...(evidence === '' ? {} : { evidence }),
  };
}
