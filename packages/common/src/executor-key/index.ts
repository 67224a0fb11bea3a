export { executorKeySchema } from './schema.ts';
export { type ExecutorKeyStatement, parseExecutorKey } from './statement.ts';
