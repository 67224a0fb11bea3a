import { runExecutor } from '../../../packages/executor/src/main.ts';

// An executor with this config in a process of its own, which says the code of what ends it. It may be told how often to
// look at its files: FILE, or MILLISECONDS FILE.
const [configPath = '', lookEveryMs] = process.argv.slice(2).reverse();
runExecutor(configPath, { lookEveryMs: lookEveryMs === undefined ? undefined : Number(lookEveryMs) }).catch(
  (error: unknown) => {
    console.error(error instanceof Error && 'code' in error ? error.code : error);
    process.exitCode = 1;
  },
);
