export { executorKeySchema } from './schema.ts';
export {
  type ClaimedKey,
  type ExecutorKeyStatement,
  parseExecutorKey,
  signExecutorKey,
  verifyExecutorKey,
} from './statement.ts';
