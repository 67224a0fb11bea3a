import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const sourceOf = (file: string): string => join(import.meta.dirname, file);

/** What tests start as processes of their own: from one file each that bundle.ts builds, as the sources take seconds. */
export const programs = {
  victim: sourceOf('executor/victim.ts'),
  'run-executor': sourceOf('executor/run-executor.ts'),
  'run-gate': sourceOf('gate/run-gate.ts'),
  'dying-executor': sourceOf('executor/dying-executor.ts'),
  'dying-gate': sourceOf('gate/dying-gate.ts'),
  'failing-executor': sourceOf('../chaos/failing-executor.ts'),
  'test-executor': sourceOf('sandbox/test-executor.ts'),
  'weakened-executor': sourceOf('../sandbox/weakened-executor.ts'),
} as const;

/** The file that Node is to run. */
export function programFile(name: keyof typeof programs): string {
  const bundle = process.env['CSC_BIN'];
  const built = bundle === undefined ? '' : join(dirname(bundle), `${name}.cjs`);
  return existsSync(built) ? built : programs[name];
}
