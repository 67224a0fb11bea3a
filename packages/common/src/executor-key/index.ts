export { type ExecutorKeyStatement, executorKeySchema, parseExecutorKey } from './statement.ts';
