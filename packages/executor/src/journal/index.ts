export type {
  Adopted,
  ConsumedApproval,
  FinishedExecution,
  Journal,
  Redemption,
  Seal,
  SealedReceipt,
} from './journal.ts';
export { openSqliteJournal } from './sqlite-journal.ts';
