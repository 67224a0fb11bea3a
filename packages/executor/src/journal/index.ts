export type {
  Adopted,
  FinishedExecution,
  Journal,
  OwedReceipt,
  Redemption,
  Seal,
  SealedReceipt,
  SignedRefusal,
  TicketUse,
} from './journal.ts';
export { openSqliteJournal } from './sqlite-journal.ts';
