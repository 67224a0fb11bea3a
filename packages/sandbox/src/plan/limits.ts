import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Limits } from '@csc-fleet/common/limits';

const mebibyte = 1024 * 1024;

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
