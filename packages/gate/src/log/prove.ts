import { toBuffer } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import type {
  ProveReceiptsRequest,
  ProveReceiptsResponse,
  ReadLogTileRequest,
  ReadLogTileResponse,
  ReceiptProof,
} from '@csc-fleet/common/messages';
import { parseTilePath } from '@csc-fleet/common/tlog';
import type { Principal } from '../execution/executions.ts';
import { type ReceiptReaderPorts, withReceiptFor } from '../execution/readers.ts';
import type { Store } from '../store/store.ts';
import type { Cosigning } from './cosigning.ts';
import type { Published, ReceiptLog } from './receipt-log.ts';

type ProvingLog = Pick<
  ReceiptLog,
  'current' | 'reach' | 'find' | 'inclusion' | 'consistency' | 'read' | 'trouble' | 'vkey'
>;

export interface ProvePorts extends ReceiptReaderPorts {
  readonly store: Pick<Store, 'receiptRecords'>;
  /** Absent: this gate keeps none. */
  readonly log?: ProvingLog | undefined;
  /** Absent: nobody cosigns it. */
  readonly cosigning?: Cosigning | undefined;
}

/**
 * Throws EXECUTION_UNKNOWN for what is not the caller's, unless that is to be named, and STORE_UNAVAILABLE while the log cannot
 * take their receipts in.
 * @param patienceMs how long it is waited for
 */
export async function proveReceipts(
  ports: ProvePorts,
  principal: Principal,
  { executionIds, oldSize, witnesses, nameUnknown }: ProveReceiptsRequest,
  patienceMs = 5_000,
): Promise<ProveReceiptsResponse> {
  const { store, log, cosigning } = ports;
  const records = new Map<number, string>();
  const unknownExecutionIds: string[] = [];
  for (const id of executionIds) {
    const found = await withReceiptFor(ports, principal, id).catch((error: unknown) => {
      if (nameUnknown && isCscError(error, 'EXECUTION_UNKNOWN')) return undefined;
      throw error;
    });
    if (found === undefined) unknownExecutionIds.push(id);
    else for (const sequence of await store.receiptRecords(found.id)) records.set(sequence, found.id);
  }
  const logVkey = log?.vkey ?? '';
  const none = { checkpoint: Buffer.alloc(0), consistency: [], proofs: [], logVkey, unknownExecutionIds };
  if (log === undefined) return none;
  const last = Math.max(0, ...records.keys());
  const published = await awaitCheckpoint({ log, cosigning }, { last, oldSize, witnesses, patienceMs });
  if (published === undefined) return none;
  const { size, note } = published;
  const proofs: ReceiptProof[] = [];
  for (const [sequence, executionId] of records) {
    const found = await log.find(sequence, size);
    if (found === undefined) continue;
    const { index, entry } = found;
    const hashes = (await log.inclusion(index, size)).map(toBuffer);
    proofs.push({ executionId, entry: toBuffer(entry), index, hashes });
  }
  const consistency = oldSize > size ? [] : (await log.consistency(oldSize, size)).map(toBuffer);
  return { ...none, checkpoint: Buffer.from(note), consistency, proofs };
}

// Who has a receipt may have its proof later: it is waited for less long than where that is all that is asked for.
const besideMs = 2_000;

/**
 * The same of one execution and others, beside its receipt. Undefined where none was asked for, or there is none within a
 * moment: what stands in its way is said to who asks for it alone.
 */
export async function proveBeside(
  ports: ProvePorts,
  principal: Principal,
  executionId: string,
  wanted: ProveReceiptsRequest | undefined,
): Promise<ProveReceiptsResponse | undefined> {
  if (wanted === undefined) return undefined;
  const executionIds = [...new Set([...wanted.executionIds, executionId])];
  try {
    return await proveReceipts(ports, principal, { ...wanted, executionIds }, besideMs);
  } catch (error) {
    if (isCscError(error)) return undefined;
    throw error;
  }
}

interface Wanted {
  /** The number of the last audit record whose receipt is to be in it. */
  readonly last: number;
  readonly oldSize: number;
  readonly witnesses: number;
  /** The client's call would not wait much longer. */
  readonly patienceMs: number;
}

// Where too few cosign, it is the caller who takes it or does not: one without the receipts would look as if they were dropped.
async function awaitCheckpoint(
  { log, cosigning }: { log: ProvingLog; cosigning: Cosigning | undefined },
  { last, oldSize, witnesses, patienceMs }: Wanted,
): Promise<Published | undefined> {
  const patience = AbortSignal.timeout(patienceMs);
  // A checkpoint without them would look as if they were dropped.
  if (!(await log.reach(last, patience))) throw behind(log);
  if (witnesses === 0 || cosigning === undefined) return log.current;
  for (;;) {
    const next = cosigning.next(patience);
    const { cosigned } = cosigning;
    if (
      cosigned !== undefined &&
      cosigned.upTo >= last &&
      cosigned.size >= oldSize &&
      cosigned.cosigners >= witnesses
    )
      return cosigned;
    const { tried } = cosigning;
    const isAsked = tried !== undefined && tried.upTo >= last && tried.size >= oldSize;
    if (patience.aborted || isAsked) return log.current;
    await next;
  }
}

function behind({ trouble = 'it has not come to it' }: ProvingLog): CscError {
  const message = `the log of receipts is behind, and proves what is in it later: ${trouble}`;
  return new CscError('STORE_UNAVAILABLE', message);
}

/** For auditors, who see everybody's. */
export async function readLogTile(
  { log, cosigning }: Pick<ProvePorts, 'log' | 'cosigning'>,
  { path }: ReadLogTileRequest,
): Promise<ReadLogTileResponse> {
  const none = { found: false, content: Buffer.alloc(0) };
  if (log?.current === undefined) return none;
  // An older one that witnesses have seen is worth more to an auditor than the newest.
  if (path === 'checkpoint')
    return { found: true, content: Buffer.from((cosigning?.cosigned ?? log.current).note) };
  const tile = parseTilePath(path);
  if (!tile.ok) throw new CscError('REQUEST_INVALID', 'path: must be that of a tile, as tlog-tiles has it');
  try {
    return { found: true, content: toBuffer(await log.read(tile.value)) };
  } catch (error) {
    if (error instanceof RangeError) return none;
    throw error;
  }
}

/** The same bytes, as messages have them. */
