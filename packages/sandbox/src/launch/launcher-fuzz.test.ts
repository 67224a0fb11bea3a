import { execFile, execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { FuzzReport } from '@csc-fleet/test-kit/sandbox/fuzz-launcher';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCscLauncher } from './csc-launcher.ts';

const root = join(import.meta.dirname, '../../../..');
// `make fuzz` sets it; without it the same few cases run each time, against the program as it is used.
const seconds = Number(process.env['CSC_FUZZ_SECONDS'] ?? 0);
const seed = process.env['CSC_FUZZ_SEED'] ?? String(seconds > 0 ? Date.now() % 1_000_000 : 1);

let program: string;
let directory: string | undefined;
beforeAll(() => {
  execFileSync(join(root, 'scripts/build-launcher.sh'));
  program = findCscLauncher() ?? 'none';
  if (seconds === 0) return;
  directory = mkdtempSync(join(tmpdir(), 'csc-launcher-fuzz-'));
  program = join(directory, 'csc-launcher');
  const checked = [
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=all',
    '-fno-omit-frame-pointer',
    '-g',
    '-O1',
  ];
  const sources = globSync(join(import.meta.dirname, '../../native/*.c'));
  execFileSync('cc', ['-std=c11', '-Wall', '-Wextra', ...checked, ...sources, '-o', program]);
});
afterAll(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true });
});

describe('csc-launcher', () => {
  it('neither breaks nor hangs whatever it is told', { timeout: (seconds + 60) * 1000 }, async () => {
    const script = join(root, 'tests/kit/sandbox/fuzz-launcher.ts');
    const args = [script, program, String(seconds), seed, '120'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { cases, heard, faults }: FuzzReport = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
    if (seconds > 0) console.log(`csc-launcher: ${cases} cases, seed ${seed}: ${JSON.stringify(heard)}`);
    expect(faults, `CSC_FUZZ_SEED=${seed}`).toEqual([]);
    for (const kind of ['ready', 'taken', 'ended', 'refused', 'pipe']) expect(heard).toHaveProperty(kind);
  });
});
