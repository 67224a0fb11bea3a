import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { sealChained } from '@csc-fleet/common/evidence';
import type { Log } from '@csc-fleet/common/service';
import { completeDraft, readDraft } from '../evidence/index.ts';
import type { Adopted, FinishedExecution, Journal, OwedReceipt } from '../journal/index.ts';
import { type Deliveries, toOwed } from '../link/deliver.ts';
import type { SpoolDirectory } from '../output/index.ts';

/** What is left of processes that died, and what signs for them. */
export interface RecoveryPorts {
  readonly journal: Pick<Journal, 'adopt' | 'finish' | 'unacknowledged'>;
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
  for (const one of finished) await take(one, ports, deliveries);
  let rest: Abandoned[] = await makeUpFor(running, ports, deliveries);
  await ports.spools
    .sweep(() => ports.journal.unacknowledged())
    .catch((error: unknown) => ports.log.warn({ error }, 'old output could not all be cleared away'));
  return {
    async again() {
      rest = await makeUpFor(rest, ports, deliveries);
    },
  };
}

type Abandoned = Adopted['running'][number];

/** Gives those that have to be tried again. */
async function makeUpFor(
  running: readonly Abandoned[],
  ports: RecoveryPorts,
  deliveries: Deliveries,
): Promise<Abandoned[]> {
  const rest: Abandoned[] = [];
  for (const abandoned of running) {
    const { executionId, draft } = abandoned;
    try {
      await take(toOwed(await finishAbandoned(executionId, draft, ports)), ports, deliveries);
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

// What a receipt and its output take in memory comes with their turn.
async function take(
  owed: OwedReceipt,
  { spools, log }: RecoveryPorts,
  deliveries: Deliveries,
): Promise<void> {
  const { executionId, outputLogLength: promised } = owed;
  const length = await spools.readable(executionId, promised);
  // Its gate would wait for ever for what is not there. It may have had all of it before.
  if (length < promised)
    log.error(
      { executionId, promised, length },
      'output that a receipt vouches for is not on this disk any more',
    );
  spools.settle({ executionId, length });
  deliveries.owe({
    ...owed,
    outputLogLength: length,
    ...(length < promised ? { signedLogLength: promised } : {}),
  });
}

async function finishAbandoned(
  executionId: string,
  draftText: Adopted['running'][number]['draft'],
  { spools, journal, signer, clock }: RecoveryPorts,
): Promise<FinishedExecution> {
  const draft = readDraft(draftText);
  const content = await spools.read(executionId);
  const now = clock.now();
  const receipt = completeDraft(draft, content, now);
  return journal.finish(executionId, (link) => ({
    ...sealChained(receipt, { version: draft.version, signer, now }, link),
    outputLogLength: content.length,
  }));
}
