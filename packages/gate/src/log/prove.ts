import { CscError } from '@csc-fleet/common/errors';
import type {
  ProveReceiptsRequest,
  ProveReceiptsResponse,
  ReadLogTileRequest,
  ReadLogTileResponse,
  ReceiptProof,
} from '@csc-fleet/common/messages';
import { parseTilePath } from '@csc-fleet/common/tlog';
import type { Executions, Principal } from '../execution/executions.ts';
import type { Store } from '../store/store.ts';
import type { Published, ReceiptLog } from './receipt-log.ts';

export interface ProvePorts {
  readonly executions: Pick<Executions, 'visible'>;
  readonly store: Pick<Store, 'receiptRecords'>;
  /** Absent: this gate keeps none. */
  readonly log?: ReceiptLog | undefined;
}

// For a checkpoint: the client's call would not wait much longer.
const patienceMs = 5_000;

/** Throws EXECUTION_UNKNOWN for what is not the caller's. */
export async function proveReceipts(
  { executions, store, log }: ProvePorts,
  principal: Principal,
  { executionIds, oldSize, witnesses }: ProveReceiptsRequest,
): Promise<ProveReceiptsResponse> {
  const none = { checkpoint: Buffer.alloc(0), consistency: [], proofs: [] };
  const records = new Map<number, string>();
  for (const id of executionIds) {
    const { id: executionId } = await executions.visible(principal, id);
    for (const sequence of await store.receiptRecords(executionId)) records.set(sequence, executionId);
  }
  if (log === undefined) return none;
  const last = Math.max(0, ...records.keys());
  const published = await awaitCheckpoint(log, { last, oldSize, witnesses });
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
  return { checkpoint: Buffer.from(note), consistency, proofs };
}

async function awaitCheckpoint(
  log: ReceiptLog,
  { last }: { last: number; oldSize: number; witnesses: number },
): Promise<Published | undefined> {
  await log.reach(last, AbortSignal.timeout(patienceMs));
  return log.current;
}

/** For auditors, who see everybody's. */
export async function readLogTile(
  { log }: Pick<ProvePorts, 'log'>,
  { path }: ReadLogTileRequest,
): Promise<ReadLogTileResponse> {
  const none = { found: false, content: Buffer.alloc(0) };
  if (log?.current === undefined) return none;
  if (path === 'checkpoint') return { found: true, content: Buffer.from(log.current.note) };
  const tile = parseTilePath(path);
  if (!tile.ok) throw new CscError('REQUEST_INVALID', 'path: must be that of a tile, as tlog-tiles has it');
  try {
    return { found: true, content: toBuffer(await log.read(tile.value)) };
  } catch (error) {
    if (error instanceof RangeError) return none;
    throw error;
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
