import { runExecutor } from '../../../packages/executor/src/main.ts';

// An executor with this config in a process of its own, which says the code of what ends it.
runExecutor(process.argv[2] ?? '').catch((error: unknown) => {
  console.error(error instanceof Error && 'code' in error ? error.code : error);
  process.exitCode = 1;
});
