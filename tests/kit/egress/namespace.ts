// A proxy for a real sandbox, in a process of its own, for tests that start it as somebody else.
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import {
  listenInNamespace,
  proxyEnvironment,
  proxyPort,
} from '../../../packages/executor/src/egress/sandbox-side.ts';
import { childrenOf } from '../sandbox/find-processes.ts';
import { startBench, startUpstream } from './bench.ts';

/** Its one argument, as JSON. */
export interface NamespaceTestOptions {
  /** A shell's, for within. */
  readonly script: string;
  /** Who to be. Absent: whoever starts it. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Null: the socket is made without csc-launcher. */
  readonly launcher?: null;
}

/** What it prints, as JSON. */
export interface NamespaceTestResult {
  /** What the script wrote. */
  readonly output: string;
  /** `HOST:PORT REASON`, with `ok` for what was allowed. */
  readonly verdicts: readonly string[];
  /** Of a second attempt to listen at the same place. */
  readonly secondError: string | undefined;
  /** Children of this process while the script ran, beside the sandbox. */
  readonly helpersLeft: number;
}

const { script, user, ...how }: NamespaceTestOptions = JSON.parse(process.argv[2] ?? '');
if (user !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(user.gid);
  process.setuid?.(user.uid);
}
const upstream = await startUpstream(['allowed.test']);
const resolve = async (): Promise<string[]> => ['93.184.216.34'];
const bench = await startBench({ lists: [['allowed.test']], resolve, upstream });
const sandbox = spawnSandbox(script);
const output = text(sandbox.stdout as Readable);
const pid = await readInit(sandbox.stdio[3] as Readable);
const held = await listenInNamespace({ pid, port: proxyPort, ...how });
const server = createServer();
bench.proxy.serve(server);
server.listen({ fd: held.fd });
const second = await listenInNamespace({ pid, port: proxyPort, ...how }).catch(
  (error: { code: string }) => error,
);
// They end by themselves; what is left after all this time is left for good.
const countHelpers = (): number => childrenOf(process.pid).length - 1;
const patience = Date.now() + 30_000;
while (countHelpers() > 0 && Date.now() < patience) await new Promise((done) => setTimeout(done, 5));
const helpersLeft = countHelpers();
(sandbox.stdio[4] as Writable).end('x');
const result: NamespaceTestResult = {
  output: await output,
  verdicts: bench.verdicts.map(({ host, port, reason }) => `${host}:${port} ${reason ?? 'ok'}`),
  secondError: 'code' in second ? second.code : undefined,
  helpersLeft,
};
console.log(JSON.stringify(result));
await bench.close();
await upstream.close();

// Held before its command, as an executor does.
function spawnSandbox(command: string): ChildProcess {
  const namespaces = ['user', 'ipc', 'pid', 'uts', 'net'].map((name) => `--unshare-${name}`);
  const view = ['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev'];
  const held = ['--json-status-fd', '3', '--block-fd', '4'];
  const options = [
    '--die-with-parent',
    ...namespaces,
    '--disable-userns',
    '--cap-drop',
    'ALL',
    ...view,
    ...held,
  ];
  return spawn('bwrap', [...options, '--', 'sh', '-c', command], {
    env: { PATH: '/usr/bin:/bin', ...proxyEnvironment(proxyPort) },
    stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe'],
  });
}

// bwrap writes its line in pieces.
async function readInit(status: Readable): Promise<number> {
  let said = '';
  for await (const chunk of status) {
    said += String(chunk);
    if (said.includes('\n')) break;
  }
  return Number(JSON.parse(said.split('\n')[0] ?? '')['child-pid']);
}
