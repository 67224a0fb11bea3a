import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Limits } from '@csc-fleet/common/limits';
import { maxOfferedApprovals } from '@csc-fleet/common/messages';

const mebibyte = 1024 * 1024;

/** What an execution may use up of the host beside its sandbox. */
export interface ExecutorLimits {
  /** Captured of a contract's stdout, in bytes; the rest is read and dropped. */
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  /** All output logs on this host together, in bytes: an offer that might not fit is refused. */
  readonly spoolBytes: number;
}

/** What holds where nothing else is said. */
export const defaultLimits: ExecutorLimits = {
  stdoutBytes: 10 * mebibyte,
  stderrBytes: mebibyte,
  spoolBytes: 4096 * mebibyte,
};

/** What one command may use up, as policies and tickets spell it too. */
export type RunLimits = Required<Omit<Limits, 'stdout_bytes' | 'stderr_bytes'>>;

/** What holds where neither the host's config nor policy nor ticket says less. */
export function defaultRunLimits(): RunLimits {
  return {
    memory_bytes: 4096 * mebibyte,
    processes: 1024,
    cpu_millis: availableParallelism() * 1000,
    open_files: Math.min(16_384, mostOpenFiles()),
    file_bytes: 8192 * mebibyte,
    tmp_bytes: 256 * mebibyte,
    write_bytes: 16_384 * mebibyte,
    write_files: 1_000_000,
    artifact_bytes: 4096 * mebibyte,
    artifact_sec: 60,
  };
}

// No process may raise its own hard limit (setrlimit(2)).
function mostOpenFiles(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    return Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** What all jobs together leave to the executor and to the rest of the host. */
export const defaultReserve = { memory_bytes: 512 * mebibyte, cpu_millis: 100 };

/** "local" runs commands without a sandbox: for a workstation that has none to offer. */
export type ExecutionMode = 'hardened' | 'local';

/** What an offer may bring; its contract, ticket and approvals have limits of their own where they are parsed. */
export const offerLimits = {
  /** Of an execution's or a ticket's id, in UTF-16 units: it is kept, and said again, often. */
  idLength: 256,
  approvals: maxOfferedApprovals,
};
