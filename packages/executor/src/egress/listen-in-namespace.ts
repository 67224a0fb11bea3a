import { type ChildProcess, type SendHandle, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { Server } from 'node:net';
import { CscError } from '@csc-fleet/common/errors';
import { toolPath } from '../sandbox/programs.ts';
import { enterNetworkNamespace } from './enter-namespace.ts';
import { namespaceHelper } from './namespace-helper.ts';

const patienceMs = 5000;
const remedy =
  "; entering a job's network takes nsenter (util-linux), and CAP_SYS_ADMIN as root, perl as another user";

/**
 * Listens on 127.0.0.1:`port` in the network namespace of a process, which must not be this process's own: a helper enters
 * it, listens, and hands the listener over. Throws SANDBOX_UNAVAILABLE; no helper is left in any case.
 */
export async function listenInNamespace(place: {
  readonly pid: number;
  readonly port: number;
}): Promise<Server> {
  const namespace = readNamespace(place.pid);
  const argv = [process.execPath, '-e', namespaceHelper, String(place.port), namespace] as const;
  const [program, ...rest] = enterNetworkNamespace(place.pid, process.getuid?.() === 0, argv);
  const child = spawn(program, rest, {
    // An executor's own environment is nobody's business in there.
    env: { PATH: toolPath },
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  try {
    return await receiveServer(child);
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

function receiveServer(child: ChildProcess): Promise<Server> {
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
      if (handle instanceof Server) resolve(handle);
      else fail(describeProblem(message));
    });
  });
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
