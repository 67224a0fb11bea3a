import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { cscBin } from '@csc-fleet/test-kit/process';
import { quantile, type Row, toRow } from './report.ts';

const runs = 30;

/** `csc run`, hardened and signed, as a whole process of the shipped bundle, against `node -e 0`. */
export async function measure(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'csc-bench-'));
  try {
    const ours = await medianOf([process.execPath, ...prepare(directory)]);
    const node = await medianOf([process.execPath, '-e', '0']);
    const bwrap = await medianOf(['bwrap', '--unshare-all', '--ro-bind', '/', '/', 'true']);
    return [
      toRow('one-shot', 'csc run, hardened, signed, against node -e 0', ours, node, 'ms', { max: 3 }),
      toRow('one-shot', 'the same against bare bwrap', ours, bwrap, 'ms'),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function prepare(directory: string): string[] {
  // mkdtemp makes it 0700, and the job user has to get through.
  chmodSync(directory, 0o755);
  const workspace = join(directory, 'workspace');
  mkdirSync(workspace);
  if (process.getuid?.() === 0) chownSync(workspace, 65534, 65534);
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const contractFile = file('contract.json', JSON.stringify(makeContract(workspace, [{ argv: ['true'] }])));
  const policyFile = file('policy.yaml', testPolicy(workspace));
  const key = file('key', 'k'.repeat(32));
  return [
    cscBin,
    ...[
      'run',
      contractFile,
      policyFile,
      '--mode',
      'hardened',
      '--sign',
      '--signing-key',
      key,
      '--key-id',
      'bench',
    ],
    ...['--receipt-out', join(directory, 'receipt.json'), '--state-dir', join(directory, 'state')],
  ];
}

async function medianOf(argv: readonly string[]): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < runs + 3; i++) {
    const begin = performance.now();
    const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'ignore' });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`${argv.join(' ')} exited with ${code}`);
    if (i >= 3) samples.push(performance.now() - begin);
  }
  return quantile(samples, 0.5);
}
