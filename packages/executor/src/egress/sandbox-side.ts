import { type ChildProcess, type SendHandle, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import type { EgressHost } from '@csc-fleet/common/schema';
import { toolPath } from '@csc-fleet/sandbox/host';
import { findCscLauncher } from '@csc-fleet/sandbox/launch';
import { namesLocalhost, parseEgressEntry } from './allow-list.ts';

/** Where the proxy listens in every sandbox: each has a network of its own. */
export const proxyPort = 3128;

/**
 * The variables that lead programs to the proxy, in both spellings. With NODE_USE_ENV_PROXY Node's own clients look at
 * them too.
 * @param lists who may be asked for. `localhost` is the sandbox itself and asked for directly, unless a list has it:
 *   there it is this host. Absent: everything goes to the proxy
 */
export function proxyEnvironment(
  port: number,
  lists?: readonly (readonly EgressHost[])[],
): Record<string, string> {
  const http = `http://127.0.0.1:${port}`;
  // With `h` the proxy resolves names: in the sandbox nobody can.
  const socks = `socks5h://127.0.0.1:${port}`;
  const direct = lists === undefined || lists.flat().some(isLocalhost) ? '' : 'localhost,127.0.0.1,::1';
  return {
    HTTP_PROXY: http,
    HTTPS_PROXY: http,
    ALL_PROXY: socks,
    NO_PROXY: direct,
    http_proxy: http,
    https_proxy: http,
    all_proxy: socks,
    no_proxy: direct,
    NODE_USE_ENV_PROXY: '1',
  };
}

function isLocalhost(host: EgressHost): boolean {
  const entry = parseEgressEntry(host);
  return entry.ok && namesLocalhost(entry.value);
}

const patienceMs = 5000;
const remedy =
  "; entering a job's network takes nsenter (util-linux), and CAP_SYS_ADMIN as root, perl as another user";

/** A socket that listens elsewhere. This process accepts nothing from it. */
export interface HeldListener {
  /** Its descriptor here, to be passed on. */
  readonly fd: number;
  close(): void;
}

/**
 * Listens on 127.0.0.1:`port` in the network namespace of a process, which must not be this process's own: a helper enters
 * it, listens, and hands the socket over. Throws SANDBOX_UNAVAILABLE; no helper is left in any case.
 */
export async function listenInNamespace(place: {
  readonly pid: number;
  readonly port: number;
  /** csc-launcher; null: without it. Default: where it is found. */
  readonly launcher?: string | null;
}): Promise<HeldListener> {
  const namespace = readNamespace(place.pid);
  const { launcher = findCscLauncher() ?? null } = place;
  // A Node.js of its own takes ten times as long for it.
  const helper = launcher === null ? [process.execPath, '-e', namespaceHelper] : [launcher, 'listen'];
  const argv = [...helper, String(place.port), namespace];
  const [program, ...rest] = enterNetworkNamespace(place.pid, process.getuid?.() === 0, argv);
  const child = spawn(program, rest, {
    // An executor's own environment is nobody's business in there.
    env: { PATH: toolPath },
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  try {
    return await receiveListener(child);
  } finally {
    child.kill('SIGKILL');
    child.stderr?.destroy();
  }
}

// Checked again by the helper: by then the pid may be another process's.
function readNamespace(pid: number): string {
  let namespace: string;
  try {
    namespace = readlinkSync(`/proc/${pid}/ns/net`);
  } catch (error) {
    throw unavailable('its process is gone, or not to be looked at', error);
  }
  if (namespace === readlinkSync('/proc/self/ns/net')) throw unavailable("it has this host's own network");
  return namespace;
}

function receiveListener(child: ChildProcess): Promise<HeldListener> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = `${complaint}${text}`.slice(0, 500);
    });
    child.stderr?.on('error', () => undefined);
    const fail = (problem: string, cause?: unknown): void => {
      clearTimeout(timer);
      reject(unavailable(problem, cause));
    };
    const timer = setTimeout(() => fail('the helper did not answer in time'), patienceMs);
    child.on('error', (error) => fail(`the helper cannot be started${remedy}`, error));
    // After the message, if there is one: `close` waits for the channel to be read to its end.
    child.once('close', () => fail(`${firstLine(complaint)}${remedy}`));
    child.once('message', (message: unknown, handle: SendHandle | undefined) => {
      clearTimeout(timer);
      const listener = toListener(handle);
      if (listener === undefined) fail(describeProblem(message));
      else resolve(listener);
    });
  });
}

// What comes is Node's own handle of a socket (child_process, "net.Native"): as a net.Server this process would accept
// from it, although nobody listens to that here.
function toListener(handle: unknown): HeldListener | undefined {
  if (typeof handle !== 'object' || handle === null || !('fd' in handle) || !('close' in handle))
    return undefined;
  const { fd, close } = handle;
  if (typeof fd !== 'number' || fd < 0 || typeof close !== 'function') return undefined;
  return { fd, close: () => void Reflect.apply(close, handle, []) };
}

function firstLine(complaint: string): string {
  return complaint.trim().split('\n')[0] || 'the helper ended without a word';
}

function describeProblem(message: unknown): string {
  const isProblem = typeof message === 'object' && message !== null && 'problem' in message;
  return isProblem ? String(message.problem) : 'the helper handed nothing over';
}

function unavailable(problem: string, cause?: unknown): CscError {
  const message = `the way out of the sandbox's network cannot be made: ${problem}`;
  return new CscError('SANDBOX_UNAVAILABLE', message, cause === undefined ? {} : { cause });
}

/** A program and its arguments. */
type CommandLine = readonly [program: string, ...rest: string[]];

// With --disable-userns bubblewrap leaves the user namespace that the network belongs to for one below it, and no process
// stays behind: only NS_GET_USERNS (ioctl_ns(2), 0xb701) on the network leads there, which neither Node nor nsenter knows
// before util-linux 2.41. Perl is essential on Debian; `nsenter` follows, to enter both at once.
const enterOwner = `
use Fcntl;
$^F = 1023;
my ($pid, @command) = @ARGV;
open(my $net, '<', "/proc/$pid/ns/net") or die "its network namespace: $!\\n";
my $user = ioctl($net, 0xb701, 0) or die "the owner of its network namespace: $!\\n";
open(my $owner, '<&=', $user) or die "the owner of its network namespace: $!\\n";
fcntl($owner, F_SETFD, 0);
exec('nsenter', "--user=/proc/self/fd/$user", '--net=/proc/self/fd/' . fileno($net), '--preserve-credentials', '--', @command);
die "nsenter: $!\\n";
`;

/** The command line that runs another one in the network namespace of a process. Pure. */
function enterNetworkNamespace(pid: number, isRoot: boolean, command: readonly string[]): CommandLine {
  return isRoot
    ? ['nsenter', `--net=/proc/${pid}/ns/net`, '--', ...command]
    : ['perl', '-e', enterOwner, String(pid), ...command];
}

/**
 * The program of the helper process where there is no csc-launcher, for `node -e` with the port and the namespace's
 * link as arguments: it listens in the network namespace that it was started in, hands the listener to its parent and
 * ends. It is text so that a bundle needs no second file, CommonJS and plain, for nothing compiles it.
 */
const namespaceHelper = `
const { readlinkSync } = require('node:fs');
const { createServer } = require('node:net');
const [port, expected] = process.argv.slice(-2);
const fail = (problem) => process.send({ problem }, () => process.exit(1));
process.once('disconnect', () => process.exit(1));
setTimeout(() => process.exit(1), 5000);
const namespace = readlinkSync('/proc/self/ns/net');
const listen = (attempts) => {
  const server = createServer({ pauseOnConnect: true });
  server.once('error', (error) => {
    // The loopback interface comes up a moment after the namespace.
    if (error.code === 'EADDRNOTAVAIL' && attempts > 0) setTimeout(listen, 5, attempts - 1);
    else fail('it cannot listen: ' + error.code);
  });
  server.listen(Number(port), '127.0.0.1', () => {
    process.send({ listening: true }, server._handle, () => process.exit(0));
  });
};
if (namespace === expected) listen(200);
else fail('it came into another network namespace');
`;
