import { sealReceipt } from '@csc-fleet/common/evidence';
import { completeDraft, readDraft } from '../evidence/index.ts';
import type { Adopted, FinishedExecution, OwedReceipt } from '../journal/index.ts';
import type { Deliveries } from '../link/deliver.ts';
import type { Host } from '../run/host.ts';

/**
 * Makes up for processes that died: signs an `executor_restart` receipt for what they had started, takes over what
 * they had not delivered, and clears away what is left of both.
 */
export async function recover(host: Host, deliveries: Deliveries): Promise<void> {
  const { running, finished } = await host.journal.adopt();
  for (const one of finished) take(one, host, deliveries);
  for (const { executionId, draft } of running) {
    try {
      const { receiptJson, outputLogLength } = await finishAbandoned(executionId, draft, host);
      take({ executionId, receiptLength: receiptJson.length, outputLogLength }, host, deliveries);
      host.log.warn(
        { executionId },
        'an execution was cut off by the end of its executor; its receipt says so',
      );
    } catch (error) {
      host.log.error({ executionId, error }, 'an execution that was cut off could not be given its receipt');
    }
  }
  await host.spools.sweep(() => host.journal.unacknowledged());
}

// What a receipt and its output take in memory comes with their turn.
function take(owed: OwedReceipt, { spools }: Host, deliveries: Deliveries): void {
  spools.settle({ executionId: owed.executionId, length: owed.outputLogLength });
  deliveries.owe(owed);
}

async function finishAbandoned(
  executionId: string,
  draftText: Adopted['running'][number]['draft'],
  { spools, journal, signer, clock }: Host,
): Promise<FinishedExecution> {
  const draft = readDraft(draftText);
  const content = await spools.read(executionId);
  const now = clock.now();
  const receipt = completeDraft(draft, content, now);
  return journal.finish(executionId, (previousSha256) => ({
    ...sealReceipt(receipt, { version: draft.version, signer, now, previousSha256 }),
    outputLogLength: content.length,
  }));
}
