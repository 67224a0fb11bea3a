export type {
  Adopted,
  FinishedExecution,
  Journal,
  OwedReceipt,
  Redemption,
  Refusal,
  Seal,
  SealedReceipt,
  TicketUse,
} from './journal.ts';
export { openSqliteJournal } from './sqlite-journal.ts';
