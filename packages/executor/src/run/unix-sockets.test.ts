import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultCeiling } from '../admission/host-ceiling.ts';

let bench: Workbench;
beforeAll(async () => {
  bench = await openWorkbench({ executor: { executionMode: 'hardened' } });
});
afterAll(() => bench.close());

/** A Python program of the workspace, run with these write scopes. */
function start(name: string, text: string, writes: readonly string[] = [bench.out]) {
  writeFileSync(join(bench.workspace, `${name}.py`), text);
  const command = { argv: shell(`exec python3 ${name}.py 2>&1`), write_paths: [...writes] };
  return bench.gate.offer(makeContract(bench.workspace, [command]), bench.policy);
}

async function outputOf(executionId: string): Promise<string> {
  await bench.gate.receipt(executionId);
  const { outputLogLength = 0 } = bench.gate.all('receipt', executionId)[0] ?? {};
  await bench.gate.output.holds(executionId, outputLogLength);
  return bench.gate.output.text(executionId);
}

// Offers a directory of its own, /tmp, to whoever connects: as a stream, and as a datagram socket.
const listener = `
import os, socket, threading
os.umask(0)
open("/tmp/mine", "w").write("what only this job has")
place = os.open("/tmp", os.O_RDONLY)
server = socket.socket(socket.AF_UNIX); server.bind("out/stream"); server.listen()
packets = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); packets.bind("out/packets"); packets.listen()
mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); mailbox.bind("out/mailbox")
def offer():
    while True: socket.send_fds(server.accept()[0], [b"x"], [place])
threading.Thread(target=offer, daemon=True).start()
mailbox.settimeout(0.05)
got = set()
open("out/ready", "w").close()
while not os.path.exists("out/go"):
    try: got.add(socket.recv_fds(mailbox, 9, 1)[0])
    except TimeoutError: pass
for name in ("stream", "packets", "mailbox", "ready", "go"): os.unlink("out/" + name)
print("got", sorted(got))
`;

// Every way that leads to a socket with a name.
const taker = `
import ctypes, os, socket
def attempt(name, action):
    try: print(name, action())
    except OSError as error: print(name, "refused", error.errno)
def take(sender):
    sender.connect("out/stream")
    fd = socket.recv_fds(sender, 9, 1)[1][0]
    return os.read(os.open("mine", os.O_RDONLY, dir_fd=fd), 99)
attempt("stream", lambda: take(socket.socket(socket.AF_UNIX)))
attempt("datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"socket", "out/mailbox"))
attempt("datagram pair", lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b"pair", "out/mailbox"))
attempt("raw pair", lambda: socket.socketpair(type=socket.SOCK_RAW)[0].sendto(b"raw", "out/mailbox"))
libc = ctypes.CDLL(None, use_errno=True)
two = (ctypes.c_int * 2)()
wide = [libc.syscall(41, ctypes.c_long(1 | 1 << 32), 2, 0), libc.syscall(53, ctypes.c_long(1 | 1 << 32), 2, 0, two)]
print("wide", wide)
def other(kind, path):
    a, b = socket.socketpair(type=kind)
    b.close()
    a.connect(path)
attempt("stream pair", lambda: other(socket.SOCK_STREAM, "out/stream"))
attempt("packet pair", lambda: other(socket.SOCK_SEQPACKET, "out/packets"))
a, b = socket.socketpair(); a.send(b"harmless"); print(b.recv(9))
`;

const own = `
import os, socket
for place in ("/tmp/s", "out/own"):
    server = socket.socket(socket.AF_UNIX); server.bind(place); server.listen()
    client = socket.socket(socket.AF_UNIX); client.connect(place); client.send(b"x")
    print(place, server.accept()[0].recv(1)); os.unlink(place)
`;

async function runBeside<T>(act: () => Promise<T>): Promise<{ said: string; result: T }> {
  const first = start('listener', listener);
  while (!existsSync(join(bench.out, 'ready'))) await sleep(5);
  const result = await act();
  writeFileSync(join(bench.out, 'go'), '');
  return { said: await outputOf(first), result };
}

describe('two runs that can meet in a scope', () => {
  it('cannot hand each other what they have open', async () => {
    const { said, result } = await runBeside(async () => {
      const executionId = start('taker', taker);
      return {
        stdout: await outputOf(executionId),
        notes: bench.gate.all('accepted', executionId)[0]?.notes,
      };
    });
    expect(result.stdout.split('\n')).toEqual([
      ...['stream refused 13', 'datagram refused 13', 'datagram pair refused 13', 'raw pair refused 13'],
      ...(process.arch === 'x64' ? ['wide [-1, -1]'] : [expect.stringContaining('wide')]),
      // EISCONN: a pair is connected for good.
      ...['stream pair refused 106', 'packet pair refused 106', "b'harmless'", ''],
    ]);
    expect(said).toBe('got []\n');
    expect(result.notes?.join()).toMatch(/another run has .* as well/);
    expect(result.notes?.join()).toContain(bench.out);
  });

  it('cannot where the one may only read what the other writes', async () => {
    const { result } = await runBeside(() => outputOf(start('taker', taker, [])));
    expect(result).toContain('stream refused 13');
  });
});

it('no run has any where the host’s owner says so', async () => {
  const strict = await openWorkbench({
    executor: {
      executionMode: 'hardened',
      ceiling: { ...defaultCeiling, inlineCode: true, unixSockets: 'deny' },
    },
  });
  writeFileSync(join(strict.workspace, 'taker.py'), taker);
  const command = { argv: shell('exec python3 taker.py') };
  const id = strict.gate.offer(makeContract(strict.workspace, [command]), strict.policy);
  await strict.gate.receipt(id);
  await strict.gate.output.holds(id, strict.gate.all('receipt', id)[0]?.outputLogLength ?? 0);
  expect(strict.gate.output.text(id)).toContain('stream refused 13');
  await strict.close();
});

it('a run that is alone in its scopes has Unix sockets, there and in its /tmp', async () => {
  expect(await outputOf(start('own', own))).toBe("/tmp/s b'x'\nout/own b'x'\n");
});
