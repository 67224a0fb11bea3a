import { advised, type Check } from '@csc-fleet/sandbox/host';
import { logRecordFile, readLogRecord } from './record.ts';
import { checkUntaken } from './untaken.ts';

/**
 * For a host's owner: whether its gate leaves receipts untaken, and whether the gate's log is false or lacks some of
 * them. Empty where all is well; neither keeps the host from running. Throws CONFIG_INVALID, FILE_UNREADABLE.
 */
export function checkReceiptLog(stateDir: string): readonly Check[] {
  const record = readLogRecord(stateDir);
  if (record === undefined) return checkUntaken(stateDir);
  const { missing, missing_executions: some, why, is_false: accusation } = record;
  const found: Check[] = [...checkUntaken(stateDir)];
  if (accusation !== undefined) {
    const { at, message } = accusation;
    const remedy = `unless its owners have begun it anew, the gate hides what it had shown: ask them. ${stateDir}/${logRecordFile} has what it was; take that file away once it is cleared up`;
    found.push(advised('receipt-log', `THE LOG OF RECEIPTS IS FALSE, since ${at}: ${message}`, remedy));
  }
  if (missing > 0) {
    const named = `${some.slice(0, 3).join(', ')}${missing > 3 ? ', …' : ''}`;
    const detail = `${missing} receipts that the gate has acknowledged are in no checkpoint of its log (${named}): ${why}`;
    const remedy = 'ask whoever runs the gate; this host has them (csc executor receipts export)';
    found.push(advised('receipts-in-log', detail, remedy));
  }
  return found;
}
