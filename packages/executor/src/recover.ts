import type { Deliveries } from './deliver.ts';
import type { Host } from './host.ts';
import type { Adopted, FinishedExecution } from './journal/index.ts';
import { completeDraft, readDraft, sealReceipt } from './receipt/index.ts';

/**
 * Makes up for processes that died: signs an `executor_restart` receipt for what they had started, takes over what
 * they had not delivered, and clears away what is left of both.
 */
export async function recover(host: Host, deliveries: Deliveries): Promise<void> {
  const { running, finished } = await host.journal.adopt();
  for (const one of finished) take(one, host, deliveries);
  for (const { executionId, draft } of running) {
    try {
      take(await finishAbandoned(executionId, draft, host), host, deliveries);
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

function take(finished: FinishedExecution, { spools }: Host, deliveries: Deliveries): void {
  deliveries.add(finished, spools.reopen(finished.executionId, finished.outputLogLength));
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
