import { createKeyRing, type Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { type ReceiptTexts, sealChained, sealReceipt, verifyReceiptFor } from '@csc-fleet/common/evidence';
import { parseReceipt } from '@csc-fleet/common/receipt';
import type { Log } from '@csc-fleet/common/service';
import { completeDraft, type ReceiptDraft, readDraft, withLoss } from '../evidence/index.ts';
import {
  type FinishedExecution,
  type Journal,
  type OwedReceipt,
  readSpare,
  type Unfinished,
} from '../journal/index.ts';
import { type Deliveries, toOwed } from '../link/deliver.ts';
import type { SpoolDirectory } from '../output/index.ts';

/** What is left of processes that died, and what signs for them. */
export interface RecoveryPorts {
  readonly journal: Pick<
    Journal,
    | 'adopt'
    | 'finish'
    | 'unacknowledged'
    | 'receiptOf'
    | 'spare'
    | 'archived'
    | 'putReceipt'
    | 'rename'
    | 'acknowledge'
  >;
  readonly spools: SpoolDirectory;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is still to be made up for. */
export interface Recovery {
  /** Executions that get no receipt, whoever tries again: of what it is, or could be made of, the disk has lost all. */
  receiptless(): readonly string[];
  /** Tries again what could not be done, as on a disk that was full. Never rejects. */
  again(): Promise<void>;
}

/**
 * Makes up for processes that died: signs an `executor_restart` receipt for what they had started, whatever its files look
 * like, takes over what they had not delivered, and clears away what is left of both.
 */
export async function recover(ports: RecoveryPorts, deliveries: Pick<Deliveries, 'owe'>): Promise<Recovery> {
  const { running, finished } = await ports.journal.adopt();
  const without: string[] = [];
  for (const one of finished) without.push(...(await takeFinished(one, ports, deliveries)));
  let rest = await makeUpFor(running, ports, deliveries);
  await ports.spools
    .sweep(() => ports.journal.unacknowledged())
    .catch((error: unknown) => ports.log.warn({ error }, 'old output could not all be cleared away'));
  const ids = (list: readonly Unfinished[]): string[] => list.map(({ executionId }) => executionId);
  return {
    receiptless: () => [...without, ...ids(rest.filter((it) => keptOf(it) === undefined))],
    async again() {
      const retried = rest.filter((it) => keptOf(it) !== undefined);
      const others = rest.filter((it) => keptOf(it) === undefined);
      rest = [...others, ...(await makeUpFor(retried, ports, deliveries))];
    },
  };
}

/** Gives those that have to be tried again. */
async function makeUpFor(
  running: readonly Unfinished[],
  ports: RecoveryPorts,
  deliveries: Pick<Deliveries, 'owe'>,
): Promise<Unfinished[]> {
  const rest: Unfinished[] = [];
  for (const abandoned of running) {
    const { executionId } = abandoned;
    try {
      // It had ended: the disk has lost that it had.
      const signed = genuine(executionId, readSpare(abandoned.bare), ports);
      if (signed !== undefined) {
        await bringAgain({ executionId, outputLogLength: -1 }, signed, ports, deliveries);
        continue;
      }
      await take(toOwed(await finishAbandoned(abandoned, ports)), ports, deliveries);
      ports.log.warn(
        { executionId },
        'an execution was cut off by the end of its executor; its receipt says so',
      );
    } catch (error) {
      rest.push(abandoned);
      ports.log.error(
        { executionId, error },
        'an execution that was cut off could not be given its receipt yet',
      );
    }
  }
  return rest;
}

/**
 * Takes over a receipt that is signed, once it is still what was signed: else it comes back as it was from its other
 * copy, or from the archive. Where neither has it none is made, as the first may be anywhere, and no execution has two
 * signed outcomes; gives its id then. Never rejects: the others are to start.
 */
async function takeFinished(
  owed: OwedReceipt,
  ports: RecoveryPorts,
  deliveries: Pick<Deliveries, 'owe'>,
): Promise<string[]> {
  const { journal, log } = ports;
  const { executionId } = owed;
  try {
    const { why, isOf = executionId } = examine(executionId, ports);
    if (why === undefined) {
      // Its row is damaged: it is what the receipt says.
      if (isOf !== executionId) await journal.rename(executionId, isOf);
      await take({ ...owed, executionId: isOf }, ports, deliveries);
      return [];
    }
    log.error({ executionId, why }, 'a receipt that was signed is damaged on this disk');
    const { draft, texts } = journal.spare(executionId);
    const signed = genuine(executionId, texts, ports) ?? readArchive(executionId, draft, ports);
    if (signed !== undefined) {
      await bringAgain(owed, signed, ports, deliveries);
      return [];
    }
    if (draft !== '') {
      log.error(
        { executionId, why: resolveIt(executionId) },
        'its receipt is lost on this disk, and none is signed twice',
      );
      return [executionId];
    }
    // Nothing ran, and the gate places it anew.
    await journal.putReceipt(executionId, { receiptJson: Buffer.alloc(1) });
    await journal.acknowledge(executionId);
  } catch (error) {
    log.error({ executionId, error }, 'a receipt that is owed cannot be delivered before the next start');
  }
  return [];
}

const resolveIt = (executionId: string): string =>
  `have its owners end it (csc admin resolve ${executionId})`;

async function bringAgain(
  { executionId, outputLogLength }: Pick<OwedReceipt, 'executionId' | 'outputLogLength'>,
  texts: ReceiptTexts,
  ports: RecoveryPorts,
  deliveries: Pick<Deliveries, 'owe'>,
): Promise<void> {
  await ports.journal.putReceipt(executionId, texts);
  await take(toOwed({ executionId, ...texts, outputLogLength }), ports, deliveries);
}

/**
 * Why the receipt in the journal is not what was signed, for people, or whose it is. An older key of this host may have
 * signed it.
 */
function examine(
  executionId: string,
  { journal, signer }: RecoveryPorts,
): { readonly why?: string; readonly isOf?: string } {
  try {
    const texts = journal.receiptOf(executionId);
    if (texts === undefined) return {};
    const isOf = verifiedOf(texts, signer);
    return isOf === undefined ? {} : { isOf };
  } catch (error) {
    if (isCscError(error, 'KEY_UNKNOWN')) return {};
    return { why: error instanceof Error ? error.message : String(error) };
  }
}

/** The execution of a receipt, as far as it says which. Throws what `verifyReceiptFor` throws. */
function verifiedOf(texts: ReceiptTexts, { keyId, publicKey }: Signer): string | undefined {
  return verifyReceiptFor({}, texts, createKeyRing([{ keyId, publicKey }])).receipt.execution_id;
}

/** A copy that is what was signed of this execution; undefined for any other. */
function genuine(
  executionId: string,
  texts: ReceiptTexts | undefined,
  { signer }: Pick<RecoveryPorts, 'signer'>,
): ReceiptTexts | undefined {
  if (texts === undefined) return undefined;
  try {
    const isOf = verifiedOf(texts, signer);
    return isOf === undefined || isOf === executionId ? texts : undefined;
  } catch {
    return undefined;
  }
}

// In the form that the chain has: an older form says the same once more, in the version that was asked for.
function readArchive(executionId: string, draft: string, ports: RecoveryPorts): ReceiptTexts | undefined {
  const { journal, signer, clock, log } = ports;
  try {
    const chained = journal.archived?.(executionId);
    if (chained === undefined || genuine(executionId, { receiptJson: chained }, ports) === undefined)
      return undefined;
    const version = readDraft(draft)?.version ?? 'csc.receipt.v0.2';
    const parsed = parseReceipt(chained);
    if (version === 'csc.receipt.v0.2' || !parsed.ok) return { receiptJson: chained };
    const { receiptJson } = sealReceipt(parsed.value, { version, signer, now: clock.now() });
    return { receiptJson, originalJson: chained };
  } catch (error) {
    log.warn({ executionId, error }, 'the archive of receipts could not be read');
    return undefined;
  }
}

// What a receipt and its output take in memory comes with their turn.
async function take(
  owed: OwedReceipt,
  { spools, log }: RecoveryPorts,
  deliveries: Pick<Deliveries, 'owe'>,
): Promise<void> {
  const { executionId } = owed;
  // What is no length may have been any: all of the output that is there counts.
  const promised = owed.outputLogLength < 0 ? Number.MAX_SAFE_INTEGER : owed.outputLogLength;
  const length = await spools.readable(executionId, promised);
  // Its gate would wait for ever for what is not there. It may have had all of it before.
  if (length < owed.outputLogLength)
    log.error(
      { executionId, promised, length },
      'output that a receipt vouches for is not on this disk any more',
    );
  spools.settle({ executionId, length });
  deliveries.owe({
    ...owed,
    outputLogLength: length,
    ...(length < owed.outputLogLength ? { signedLogLength: owed.outputLogLength } : {}),
  });
}

async function finishAbandoned(
  abandoned: Unfinished,
  { spools, journal, signer, clock }: RecoveryPorts,
): Promise<FinishedExecution> {
  const draft = readKept(abandoned);
  const { execution_id: executionId = abandoned.executionId } = draft.receipt;
  // Its row is damaged, and it is what both of its drafts say: what its ticket has spent stays spent under the id that it has.
  if (executionId !== abandoned.executionId) await journal.rename(abandoned.executionId, executionId);
  const content = await spools.read(executionId);
  const now = clock.now();
  const receipt = completeDraft(draft, content, now);
  return journal.finish(executionId, (link) => ({
    ...sealChained(receipt, { ...draft, signer, now }, link),
    outputLogLength: content.length,
  }));
}

/** What is left of what was to be its receipt. Throws INTERNAL where that is nothing. */
function readKept(unfinished: Unfinished): ReceiptDraft {
  const kept = keptOf(unfinished);
  if (kept !== undefined) return kept;
  const what = 'nothing that this host has kept of it can be read, and no receipt can be made';
  throw new CscError('INTERNAL', `${what}: ${resolveIt(unfinished.executionId)}`);
}

/** The same, and undefined for nothing. */
function keptOf({ executionId, draft, bare }: Unfinished): ReceiptDraft | undefined {
  const [whole, least] = [readDraft(draft), readDraft(bare)];
  // Where they are of two executions, one of them is damaged, too.
  const isOther = whole !== undefined && least !== undefined && idOf(whole) !== idOf(least);
  const kept = isOther ? [whole, least].find((it) => idOf(it) === executionId) : (whole ?? least);
  return kept === undefined || kept === whole
    ? kept
    : withLoss(kept, 'what this host had kept of how far it came cannot be read any more');
}

function idOf({ receipt }: ReceiptDraft): string | undefined {
  return receipt.execution_id;
}
