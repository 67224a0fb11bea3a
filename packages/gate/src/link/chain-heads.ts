import { CscError, isCscError } from '@csc-fleet/common/errors';
import { openChainHead } from '@csc-fleet/common/evidence';
import type { Identity } from '@csc-fleet/common/identity';
import type { Hello } from '@csc-fleet/common/messages';
import type { ChainHead } from '@csc-fleet/common/receipt';
import type { Store } from '../store/store.ts';
import type { ChainHeadRow } from '../store/tables.ts';
import type { ExecutorKeys } from './executor-keys.ts';

export interface ChainHeadPorts {
  readonly store: Pick<Store, 'chainHeads' | 'keepChainHead'>;
  readonly keys: Pick<ExecutorKeys, 'ringOf'>;
  readonly onError: (error: unknown) => void;
}

/**
 * Takes what an executor says of how far its chain goes, and keeps the newest for each of its epochs. Resolves to false
 * where the chain has gone back or has a fork, which the log then says: its host was restored from a copy that has forgotten
 * what ran, or two hosts have one state. One that does not verify, or that was overtaken by a later one, counts for nothing.
 */
export async function takeChainHead(
  ports: ChainHeadPorts,
  executor: Identity,
  headJson: Buffer,
): Promise<boolean> {
  if (headJson.length === 0) return true;
  const head = openHead(ports, executor, headJson);
  if (head === undefined) return true;
  const known = await ports.store.chainHeads(executor.uri);
  const fault = findFault(head, known);
  if (fault !== undefined) {
    ports.onError(wentBack(executor, fault));
    return false;
  }
  const own = known.find(({ epoch }) => epoch === head.executor_epoch);
  if (own === undefined || own.sequence < head.sequence)
    await ports.store.keepChainHead(toRow(executor, head, headJson));
  return true;
}

/**
 * The same of a Hello: there an executor that says no head of an epoch that had one has forgotten all of it. Resolves to the
 * newest head that is kept of it where it has gone back, undefined where it has not.
 */
export async function takeHello(
  ports: ChainHeadPorts,
  executor: Identity,
  { epoch, chainHeadJson }: Pick<Hello, 'epoch' | 'chainHeadJson'>,
): Promise<Buffer | undefined> {
  const known = await ports.store.chainHeads(executor.uri);
  const own = known.find((it) => it.epoch === epoch);
  if (chainHeadJson.length > 0 || own === undefined) {
    if (await takeChainHead(ports, executor, chainHeadJson)) return undefined;
  } else ports.onError(wentBack(executor, `it has no receipt, and has been as far as ${own.sequence}`));
  return Buffer.from(known.at(-1)?.head_json ?? []);
}

function openHead(
  { keys, onError }: ChainHeadPorts,
  executor: Identity,
  headJson: Buffer,
): ChainHead | undefined {
  try {
    return openChainHead(headJson, executor.uri, keys.ringOf(executor.uri));
  } catch (cause) {
    if (!isCscError(cause)) throw cause;
    onError(new CscError('RECEIPT_INVALID', `the chain head of ${executor.uri} does not count`, { cause }));
    return undefined;
  }
}

/** @param known the heads of its epochs, the newest epoch last */
function findFault(head: ChainHead, known: readonly ChainHeadRow[]): string | undefined {
  const own = known.find(({ epoch }) => epoch === head.executor_epoch);
  if (own === undefined) return undefined;
  if (head.sequence === own.sequence && head.receipt_sha256 !== own.receipt_sha256)
    return `it has two receipts with the number ${own.sequence}`;
  // Said before what is known: it came later by another connection.
  if (head.signature.signed_at <= own.signed_at) return undefined;
  if (head.sequence < own.sequence)
    return `it ends at ${head.sequence}, and has been as far as ${own.sequence}`;
  if (own !== known.at(-1)) return `its epoch is ${own.epoch} again, and has been another one since`;
  return undefined;
}

function wentBack({ uri }: Identity, fault: string): CscError {
  const message =
    `THE CHAIN OF ${uri} HAS GONE BACK: ${fault}. Its state directory was restored from a copy, or is that of two hosts: ` +
    'nothing is placed there, as it would run again what it has forgotten, before it begins a new epoch. An executor of this ' +
    'release does so now, by itself; stop another one, and run csc executor new-epoch there';
  return new CscError('RECEIPT_INVALID', message);
}

function toRow({ uri }: Identity, head: ChainHead, headJson: Buffer): ChainHeadRow {
  return {
    executor_id: uri,
    epoch: head.executor_epoch,
    sequence: head.sequence,
    receipt_sha256: head.receipt_sha256,
    signed_at: head.signature.signed_at,
    head_json: headJson,
  };
}
