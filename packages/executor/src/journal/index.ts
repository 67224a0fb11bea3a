export type {
  Adopted,
  FinishedExecution,
  Journal,
  LostTime,
  OwedReceipt,
  ReceiptHead,
  Redemption,
  Refusal,
  Seal,
  SealedReceipt,
  TicketUse,
  Unfinished,
} from './journal.ts';
export { journalFile, openSqliteJournal, restoreJournalCommand } from './sqlite-journal.ts';
