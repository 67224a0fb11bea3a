import { createKeyRing, type Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { type ReceiptTexts, sealChained, sealReceipt, verifyReceiptFor } from '@csc-fleet/common/evidence';
import { parseReceipt } from '@csc-fleet/common/receipt';
import type { Log } from '@csc-fleet/common/service';
import { completeDraft, type ReceiptDraft, readDraft, withLoss } from '../evidence/index.ts';
import type { FinishedExecution, Journal, OwedReceipt, Unfinished } from '../journal/index.ts';
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
    | 'unfinished'
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
  /** Tries again what could not be done, as on a disk that was full. Never rejects. */
  again(): Promise<void>;
}

/**
 * Makes up for processes that died: signs an `executor_restart` receipt for what they had started, whatever its files look
 * like, takes over what they had not delivered, and clears away what is left of both.
 */
export async function recover(ports: RecoveryPorts, deliveries: Deliveries): Promise<Recovery> {
  const { running, finished } = await ports.journal.adopt();
  const again: Abandoned[] = [];
  for (const one of finished) again.push(...(await takeFinished(one, ports, deliveries)));
  let rest: Abandoned[] = await makeUpFor([...running, ...again], ports, deliveries);
  await ports.spools
    .sweep(() => ports.journal.unacknowledged())
    .catch((error: unknown) => ports.log.warn({ error }, 'old output could not all be cleared away'));
  return {
    async again() {
      rest = await makeUpFor(rest, ports, deliveries);
    },
  };
}

/** What its receipt is to be made of; `lost` says what is not there any more. */
type Abandoned = Unfinished & { readonly lost?: string };

/** Gives those that have to be tried again. */
async function makeUpFor(
  running: readonly Abandoned[],
  ports: RecoveryPorts,
  deliveries: Deliveries,
): Promise<Abandoned[]> {
  const rest: Abandoned[] = [];
  for (const abandoned of running) {
    const { executionId } = abandoned;
    try {
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
 * Takes over a receipt that is signed, once it is still what was signed. Gives what has to have its receipt made anew: from the
 * archive it comes back as it was, and where that has none, a new one says so. Never rejects: the others are to start.
 */
async function takeFinished(
  owed: OwedReceipt,
  ports: RecoveryPorts,
  deliveries: Deliveries,
): Promise<Abandoned[]> {
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
    const unfinished = journal.unfinished(executionId);
    const texts = readArchive(executionId, unfinished, ports);
    await journal.putReceipt(executionId, texts);
    if (texts !== undefined) {
      await take(toOwed({ executionId, ...texts, outputLogLength: owed.outputLogLength }), ports, deliveries);
      return [];
    }
    if (unfinished !== undefined)
      return [{ ...unfinished, lost: `its receipt, which was signed before, ${damaged}` }];
    // A refusal: nothing ran, and the gate places it anew.
    await journal.putReceipt(executionId, { receiptJson: Buffer.alloc(1) });
    await journal.acknowledge(executionId);
  } catch (error) {
    log.error({ executionId, error }, 'a receipt that is owed cannot be delivered before the next start');
  }
  return [];
}

const damaged = 'is damaged on this host, and how it ended is not known any more';

/** Why the receipt in the journal is not what was signed, for people, or whose it is. An older key of this host may have signed it. */
function examine(
  executionId: string,
  { journal, signer }: RecoveryPorts,
): { readonly why?: string; readonly isOf?: string } {
  const { keyId, publicKey } = signer;
  try {
    const texts = journal.receiptOf(executionId);
    if (texts === undefined) return {};
    const { receipt } = verifyReceiptFor({}, texts, createKeyRing([{ keyId, publicKey }]));
    return receipt.execution_id === undefined ? {} : { isOf: receipt.execution_id };
  } catch (error) {
    if (isCscError(error, 'KEY_UNKNOWN')) return {};
    return { why: error instanceof Error ? error.message : String(error) };
  }
}

function readArchive(
  executionId: string,
  unfinished: Unfinished | undefined,
  { journal, signer, clock, log }: RecoveryPorts,
): ReceiptTexts | undefined {
  try {
    const chained = journal.archived?.(executionId);
    const parsed = chained === undefined ? undefined : parseReceipt(chained);
    if (chained === undefined || parsed?.ok !== true) return undefined;
    const version = readDraft(unfinished?.bare ?? '')?.version ?? 'csc.receipt.v0.2';
    if (version === 'csc.receipt.v0.2') return { receiptJson: chained };
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
  deliveries: Deliveries,
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
  abandoned: Abandoned,
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
    ...sealChained(receipt, { version: draft.version, signer, now }, link),
    outputLogLength: content.length,
  }));
}

/** What is left of what was to be its receipt. Throws INTERNAL where that is nothing. */
function readKept({ executionId, draft, bare, lost }: Abandoned): ReceiptDraft {
  const [whole, least] = [readDraft(draft), readDraft(bare)];
  // Where they are of two executions, one of them is damaged, too.
  const isOther = whole !== undefined && least !== undefined && idOf(whole) !== idOf(least);
  const kept = isOther ? [whole, least].find((it) => idOf(it) === executionId) : (whole ?? least);
  if (kept === undefined)
    throw new CscError(
      'INTERNAL',
      `nothing that this host has kept of it can be read, and no receipt can be made: have its owners end it (csc admin resolve ${executionId})`,
    );
  if (lost !== undefined) return withLoss(kept, lost);
  return kept === whole
    ? kept
    : withLoss(kept, 'what this host had kept of how far it came cannot be read any more');
}

function idOf({ receipt }: ReceiptDraft): string | undefined {
  return receipt.execution_id;
}
