import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { cscBin } from '../process.ts';

/** What csc does with one command line, from the bundle where there is one: loading the sources takes seconds. */
export async function loadMain(): Promise<(argv: readonly string[]) => Promise<void>> {
  const bundle = join(dirname(cscBin), 'main.cjs');
  if (!existsSync(bundle)) return (await import('../../../packages/cli/src/main.ts')).main;
  return (createRequire(import.meta.url)(bundle) as typeof import('../../../packages/cli/src/main.ts')).main;
}
