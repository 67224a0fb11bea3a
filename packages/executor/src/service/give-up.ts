import { CscError } from '@csc-fleet/common/errors';
import type { ReceiptTexts } from '@csc-fleet/common/evidence';
import { openSqliteJournal } from '../journal/index.ts';
import { withIdleJournal } from './idle-journal.ts';

/**
 * Takes back from the gate a receipt that it does not acknowledge: it is brought no more, and its execution stays what
 * the gate takes it for. The receipt is as true as before, keeps its place in the chain, and stays in the archive where
 * one is kept. For the operator of a host whose executor is not running. Rejects with EXECUTION_UNKNOWN where no
 * receipt of it is owed, with what `keep` throws, and as withIdleJournal does.
 * @param keep puts it away: after that the gate's way to it is gone
 */
export function giveUpReceipt(
  stateDir: string,
  executionId: string,
  keep: (texts: ReceiptTexts) => void,
): Promise<void> {
  return withIdleJournal(stateDir, async (path) => {
    const journal = openSqliteJournal(path);
    try {
      const texts = journal.receiptOf(executionId);
      if (texts === undefined) throw notOwed(executionId, journal.unacknowledged());
      keep(texts);
      await journal.acknowledge(executionId);
    } finally {
      await journal.close();
    }
  });
}

const mostNamed = 8;

function notOwed(executionId: string, owed: readonly string[]): CscError {
  const named = `${owed.slice(0, mostNamed).join(', ')}${owed.length > mostNamed ? ', …' : ''}`;
  const known =
    owed.length === 0
      ? 'the gate has acknowledged all'
      : `owed are those of ${owed.length} executions: ${named}`;
  return new CscError(
    'EXECUTION_UNKNOWN',
    owed.includes(executionId)
      ? `${executionId} has no receipt yet: the executor signs one at its next start`
      : `this host owes no receipt of ${executionId}: ${known}`,
  );
}
