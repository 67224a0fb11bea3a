import { toBuffer } from '@csc-fleet/common/encoding';
import type { Identity } from '@csc-fleet/common/identity';
import type {
  OwnReceiptProof,
  ProveOwnReceiptsRequest,
  ProveOwnReceiptsResponse,
} from '@csc-fleet/common/messages';
import {
  type NodeReader,
  nodesOf,
  parseEntry,
  proveConsistency,
  proveInclusion,
} from '@csc-fleet/common/tlog';
import type { ProvePorts } from './prove.ts';

/**
 * What an executor is told of its own receipts, by the checkpoint that there is: it asks again for what is not in it, and is
 * not waited for. Of what other executors have signed nothing is proven.
 */
export async function proveOwnReceipts(
  { store, log, cosigning }: Pick<ProvePorts, 'store' | 'log' | 'cosigning'>,
  executor: Identity,
  { executionIds, oldSize, witnesses }: ProveOwnReceiptsRequest,
): Promise<ProveOwnReceiptsResponse> {
  const cosigned = cosigning?.cosigned;
  const isSeen = cosigned !== undefined && cosigned.cosigners >= witnesses && cosigned.size >= oldSize;
  const published = witnesses > 0 && isSeen ? cosigned : log?.current;
  if (log === undefined || published === undefined)
    return { checkpoint: Buffer.alloc(0), consistency: [], proofs: [] };
  const { size, note } = published;
  // Receipts of one host that it asks for at once lie beside each other, and so do the halves of their proofs.
  const node = remembering(nodesOf((tile) => log.read(tile), size));
  const proofs: OwnReceiptProof[] = [];
  for (const id of new Set(executionIds))
    for (const sequence of await store.receiptRecords(id)) {
      const found = await log.find(sequence, size);
      if (found === undefined || !isOf(executor, found.entry)) continue;
      const hashes = (await proveInclusion(node, found.index, size)).map(toBuffer);
      proofs.push({ entry: toBuffer(found.entry), index: found.index, hashes });
    }
  const consistency = oldSize > size ? [] : (await proveConsistency(node, oldSize, size)).map(toBuffer);
  return { checkpoint: Buffer.from(note), consistency, proofs };
}

function isOf({ name }: Identity, bytes: Uint8Array): boolean {
  const entry = parseEntry(bytes);
  return entry.ok && entry.value.executor === name;
}

function remembering(read: NodeReader): NodeReader {
  const known = new Map<string, Promise<Uint8Array>>();
  return (height, index) => {
    const name = `${height}/${index}`;
    const node = known.get(name) ?? read(height, index);
    known.set(name, node);
    return node;
  };
}
