import { join } from 'node:path';
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
  /** Whether it has an allowlisted network, and asks the storm's server after each piece. */
  readonly visits: boolean;
  /** What it leaves in a file that its receipt has the hash of. Empty: it leaves none. */
  readonly artifact: Buffer;
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
    visits: random.chance(0.25),
    artifact: bytesOf(`${key} 3`, random.chance(0.25) ? random.between(1, 2_000_000) : 0),
  };
}

// The witness first, in one write(2) of O_APPEND: whoever counts the lines counts starts, whatever happens to the rest.
const program = `
import os, sys, time, hashlib, socket
witness, key, out, err, pieces, pause, code, server, artifact, size = sys.argv[1:]
fd = os.open(witness, os.O_WRONLY | os.O_APPEND)
os.write(fd, (key + '\\n').encode())
def piece(text, size, at):
    if size == 0: return b''
    data = hashlib.shake_128(text.encode()).digest(size)
    return data[size * at // int(pieces):size * (at + 1) // int(pieces)]
def ask():
    head, body = b'', b''
    try:
        with socket.create_connection(('127.0.0.1', 3128), 10) as way:
            way.sendall(('GET http://localhost:%s/%s HTTP/1.1\\r\\nHost: localhost:%s\\r\\nConnection: close\\r\\n\\r\\n' % (server, key, server)).encode())
            answer = b''
            while part := way.recv(65536): answer += part
            head, _, body = answer.partition(b'\\r\\n\\r\\n')
    except OSError: return
    promised = [line for line in head.lower().split(b'\\r\\n') if line.startswith(b'content-length:')]
    if b' 200 ' not in head.split(b'\\r\\n')[0] or not promised or len(body) < int(promised[0].split(b':')[1]): return
    if body != hashlib.shake_128((key + ' 4').encode()).digest(10000): sys.exit(99)
if int(size):
    with open(artifact + '.part', 'wb') as file: file.write(hashlib.shake_128((key + ' 3').encode()).digest(int(size)))
    os.rename(artifact + '.part', artifact)
for at in range(int(pieces)):
    if int(server): ask()
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
  /** The directory of what they leave. */
  readonly artifacts: string;
  /** The port on this host's loopback of a server that gives each its own bytes (`answerOf`). */
  readonly server: number;
}

/** What the storm's server answers to whoever asks for a key. */
export function answerOf(key: string): Buffer {
  return bytesOf(`${key} 4`, 10_000);
}

/** The file that a contract leaves. */
export function artifactOf({ key }: Work, { artifacts }: Place): string {
  return join(artifacts, key);
}

export function contractOf(work: Work, place: Place): CommandContract {
  const { workspace, witness, artifacts, server } = place;
  const { key, stdout, stderr, pieces, pauseMs, exitCode, timeoutSec, visits, artifact } = work;
  const file = artifactOf(work, place);
  const numbers = [stdout.length, stderr.length, pieces, pauseMs, exitCode].map(String);
  const asks = visits ? String(server) : '0';
  return {
    version: 'csc.v0.1',
    contract_id: key,
    intent: 'a storm',
    actor: { agent_id: 'agent', session_id: 'session', initiating_user: 'user', delegation_scope: 'tests' },
    commands: [
      makeCommand(workspace, {
        argv: ['python3', '-c', program, witness, key, ...numbers, asks, file, String(artifact.length)],
        write_paths: artifact.length > 0 ? [witness, artifacts] : [witness],
        network: visits ? 'allowlisted' : 'deny',
        timeout_sec: timeoutSec,
      }),
    ],
    risk_class: 'low',
    approval_mode: 'policy_only',
    expected_outputs: artifact.length > 0 ? [file] : [],
    justification: 'tests',
  };
}
