import type { CommandContract } from '@csc-fleet/common/contract';
import { makeCommand } from '@csc-fleet/test-kit/contract';
import { bytesOf, createRandom } from './random.ts';

/** What a client does with a contract beside waiting for its end. */
export type Manner = 'plain' | 'twice' | 'leaves' | 'reads slowly' | 'cancels' | 'times out';

/** One contract of the storm, as it follows from its key: what it does, and every byte that it writes. */
export interface Work {
  readonly key: string;
  readonly manner: Manner;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** In so many writes, with a pause after each. */
  readonly pieces: number;
  readonly pauseMs: number;
  readonly exitCode: number;
  readonly timeoutSec: number;
}

const manners: readonly { readonly manner: Manner; readonly weight: number }[] = [
  { manner: 'plain', weight: 10 },
  { manner: 'twice', weight: 3 },
  { manner: 'leaves', weight: 2 },
  { manner: 'reads slowly', weight: 2 },
  { manner: 'cancels', weight: 2 },
  { manner: 'times out', weight: 1 },
];

const sizes = [
  { weight: 6, least: 0, most: 2_000 },
  { weight: 3, least: 10_000, most: 200_000 },
  { weight: 1, least: 500_000, most: 3_000_000 },
];

/** Never ends by itself: longer than any storm waits. */
const endlessMs = 300_000;

export function workOf(key: string): Work {
  const random = createRandom(key);
  const { manner } = random.pick(manners);
  const { least, most } = random.pick(sizes);
  const isEndless = manner === 'cancels' || manner === 'times out';
  return {
    key,
    manner,
    stdout: bytesOf(`${key} 1`, random.between(least, most)),
    stderr: bytesOf(`${key} 2`, random.chance(0.3) ? random.between(1, 5_000) : 0),
    pieces: random.between(1, 6),
    pauseMs: isEndless ? endlessMs : random.between(0, 300),
    exitCode: random.chance(0.2) ? random.between(1, 100) : 0,
    timeoutSec: manner === 'times out' ? random.between(1, 2) : 120,
  };
}

// The witness first, in one write(2) of O_APPEND: whoever counts the lines counts starts, whatever happens to the rest.
const program = `
import os, sys, time, hashlib
witness, key, out, err, pieces, pause, code = sys.argv[1:]
fd = os.open(witness, os.O_WRONLY | os.O_APPEND)
os.write(fd, (key + '\\n').encode())
def piece(text, size, at):
    if size == 0: return b''
    data = hashlib.shake_128(text.encode()).digest(size)
    return data[size * at // int(pieces):size * (at + 1) // int(pieces)]
for at in range(int(pieces)):
    for stream, size in ((1, int(out)), (2, int(err))):
        data = piece(key + ' ' + str(stream), size, at)
        while data: data = data[os.write(stream, data):]
    time.sleep(int(pause) / 1000)
sys.exit(int(code))
`;

/** Where the storm's contracts work. */
export interface Place {
  readonly workspace: string;
  /** The file that each start writes its key to. */
  readonly witness: string;
}

export function contractOf(work: Work, { workspace, witness }: Place): CommandContract {
  const { key, stdout, stderr, pieces, pauseMs, exitCode, timeoutSec } = work;
  const numbers = [stdout.length, stderr.length, pieces, pauseMs, exitCode].map(String);
  return {
    version: 'csc.v0.1',
    contract_id: key,
    intent: 'a storm',
    actor: { agent_id: 'agent', session_id: 'session', initiating_user: 'user', delegation_scope: 'tests' },
    commands: [
      makeCommand(workspace, {
        argv: ['python3', '-c', program, witness, key, ...numbers],
        write_paths: [witness],
        timeout_sec: timeoutSec,
      }),
    ],
    risk_class: 'low',
    approval_mode: 'policy_only',
    expected_outputs: [],
    justification: 'tests',
  };
}
