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

/**
 * Makes up for processes that died: signs an `executor_restart` receipt for what they had started, takes over what
 * they had not delivered, and clears away what is left of both.
 */
export async function recover(ports: RecoveryPorts, deliveries: Deliveries): Promise<void> {
  const { running, finished } = await ports.journal.adopt();
  for (const one of finished) take(one, ports, deliveries);
  for (const { executionId, draft } of running) {
    try {
      take(toOwed(await finishAbandoned(executionId, draft, ports)), ports, deliveries);
      ports.log.warn(
        { executionId },
        'an execution was cut off by the end of its executor; its receipt says so',
      );
    } catch (error) {
      ports.log.error({ executionId, error }, 'an execution that was cut off could not be given its receipt');
    }
  }
  await ports.spools.sweep(() => ports.journal.unacknowledged());
}

// What a receipt and its output take in memory comes with their turn.
function take(owed: OwedReceipt, { spools }: RecoveryPorts, deliveries: Deliveries): void {
  spools.settle({ executionId: owed.executionId, length: owed.outputLogLength });
  deliveries.owe(owed);
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
