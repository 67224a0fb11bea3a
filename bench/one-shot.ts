import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { cscBin } from '@csc-fleet/test-kit/process';
import { type Row, toRow } from './report.ts';
import { interleave, scaled, timing } from './rounds.ts';

const runs = 30;

/** `csc run`, hardened and signed, `csc check` and `csc --help`, as whole processes of the shipped bundle. */
export async function measure(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'csc-bench-'));
  try {
    const { contract, policy, signing } = prepare(directory);
    const csc = (...args: string[]): string[] => [process.execPath, cscBin, ...args];
    const { run, check, help, bareNode, bareBwrap } = await interleave(scaled(runs), {
      run: timingOf(csc('run', contract, policy, '--mode', 'hardened', ...signing)),
      check: timingOf(csc('check', contract, policy)),
      help: timingOf(csc('--help')),
      bareNode: timingOf([process.execPath, '-e', '0']),
      bareBwrap: timingOf(['bwrap', '--unshare-all', '--ro-bind', '/', '/', 'true']),
    });
    const row = (what: string, samples: readonly number[], max: number): Row =>
      toRow('one-shot', `${what}, against node -e 0`, samples, bareNode, 'ms', { max });
    return [
      row('csc run, hardened, signed', run, 3),
      toRow('one-shot', 'the same against bare bwrap', run, bareBwrap, 'ms'),
      row('csc check', check, 2),
      row('csc --help', help, 1.5),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Prepared {
  readonly contract: string;
  readonly policy: string;
  /** Options: who signs, and where what is written goes. */
  readonly signing: readonly string[];
}

function prepare(directory: string): Prepared {
  // mkdtemp makes it 0700, and the job user has to get through.
  chmodSync(directory, 0o755);
  const workspace = join(directory, 'workspace');
  mkdirSync(workspace);
  if (process.getuid?.() === 0) chownSync(workspace, 65534, 65534);
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const key = file('key', 'k'.repeat(32));
  return {
    contract: file('contract.json', JSON.stringify(makeContract(workspace, [{ argv: ['true'] }]))),
    policy: file('policy.yaml', testPolicy(workspace)),
    signing: [
      ...['--sign', '--signing-key', key, '--key-id', 'bench'],
      ...['--receipt-out', join(directory, 'receipt.json'), '--state-dir', join(directory, 'state')],
    ],
  };
}

function timingOf(argv: readonly string[]): () => Promise<number> {
  return () =>
    timing(async () => {
      const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'ignore' });
      const [code] = (await once(child, 'exit')) as [number | null];
      if (code !== 0) throw new Error(`${argv.join(' ')} exited with ${code}`);
    });
}
