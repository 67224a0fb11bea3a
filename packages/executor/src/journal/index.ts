export type {
  Adopted,
  FinishedExecution,
  Journal,
  LostTime,
  MetLog,
  OwedReceipt,
  ReceiptHead,
  Redemption,
  Refusal,
  Seal,
  SealedReceipt,
  SpareReceipt,
  TicketUse,
  Unfinished,
  UnprovenReceipt,
} from './journal.ts';
export { readSpare } from './spare.ts';
export { journalFile, openSqliteJournal, restoreJournalCommand } from './sqlite-journal.ts';
