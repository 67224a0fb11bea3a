import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSeccomp } from '@csc-fleet/sandbox/seccomp';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { jobUid } from '@csc-fleet/test-kit/fleet';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { csc } from '@csc-fleet/test-kit/process';

// open(2); Node has no name for it.
const O_PATH = 0x200000;

/** Spawns bubblewrap, nothing else, with the very arguments that the executor would use for this command. */
export async function bareSandbox(workspace: string, argv: string[]): Promise<() => Promise<void>> {
  const [program = '', ...args] = await explain(workspace, argv);
  return async () => {
    const descriptors = openDescriptors(args);
    const uid = process.getuid?.() === 0 ? { uid: jobUid, gid: jobUid } : {};
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'ignore', ...descriptors],
      env: {},
      ...uid,
    });
    for (const fd of descriptors) closeSync(fd);
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`bubblewrap alone exited with ${code}`);
  };
}

/** The arguments, as `csc run --sandbox-debug` prints them: `ID: [JSON array]`. */
async function explain(workspace: string, argv: string[]): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'csc-bench-'));
  try {
    const file = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text, { mode: 0o600 });
      return join(directory, name);
    };
    const files = [
      file('contract.json', JSON.stringify(makeContract(workspace, [{ argv }]))),
      file('policy.yaml', testPolicy(workspace)),
    ];
    const key = ['--sign', '--signing-key', file('key', 'k'.repeat(32)), '--key-id', 'bench'];
    const state = ['--state-dir', join(directory, 'state')];
    const shown = await csc(['run', ...files, '--mode', 'hardened', ...key, ...state, '--sandbox-debug']);
    const json = /^main: (\[.*\])$/m.exec(`${shown.stdout}\n${shown.stderr}`)?.[1];
    if (json === undefined) throw new Error(`--sandbox-debug gave no arguments:\n${shown.stderr}`);
    return JSON.parse(json) as string[];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Descriptors from 3 on, each fit for the option that names it. */
function openDescriptors(args: readonly string[]): number[] {
  const descriptors: number[] = [];
  const filters = [...loadSeccomp().programs];
  for (const [index, option] of args.entries()) {
    const fd = Number(args[index + 1]);
    if (
      !/^--(?:args|json-status-fd|block-fd|file|ro-bind-data|bind-fd|ro-bind-fd|add-seccomp-fd)$/.test(option)
    )
      continue;
    if (option.endsWith('bind-fd')) descriptors[fd - 3] = openSync(args[index + 2] ?? '', O_PATH);
    else if (option === '--add-seccomp-fd')
      descriptors[fd - 3] = openBytes(filters.shift() ?? Buffer.alloc(0));
    else descriptors[fd - 3] = openSync('/dev/null', constants.O_RDWR);
  }
  // Holes would shift what follows.
  for (let i = 0; i < descriptors.length; i++) descriptors[i] ??= openSync('/dev/null', constants.O_RDWR);
  return descriptors;
}

function openBytes(bytes: Buffer): number {
  const directory = mkdtempSync(join(tmpdir(), 'csc-bench-'));
  try {
    writeFileSync(join(directory, 'bytes'), bytes);
    return openSync(join(directory, 'bytes'), constants.O_RDONLY);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
