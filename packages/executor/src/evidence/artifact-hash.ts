import type * as NodeCrypto from 'node:crypto';
import type * as NodeFs from 'node:fs';
import type { LeftOutReason } from '@csc-fleet/common/receipt';

export interface HashRequest {
  readonly paths: readonly string[];
  /** The files and directories that the commands could write. Absolute and free of symlinks. */
  readonly roots: readonly string[];
  /** Of all of them together, by their lengths: a hole costs as much to hash as anything else. */
  readonly maxBytes: number;
  readonly ms: number;
}

export type HashAnswer = { readonly sha256: string } | { readonly reason: LeftOutReason };

export interface HashSystem {
  readonly fs: typeof NodeFs;
  readonly createHash: (typeof NodeCrypto)['createHash'];
  readonly onLinux: boolean;
  /** As the sandbox's names are encoded: see there. */
  readonly decodePath: (bytes: Buffer) => string;
}

/**
 * Hashes those of some paths that are regular files below a writable root, each inode once, and says why not of the others.
 * The answers come in order; what has none when it returns, there was no time for. Node knows no SEEK_HOLE, and a file's
 * hash is that of its zeros too: so a sparse file counts with its whole length, and one that is too long is not read at all.
 * Returns how many bytes are left.
 *
 * Its text is a part of the measuring child's program: it must refer to nothing but its parameters and Node's globals.
 */
export function createArtifactHash({ fs, createHash, onLinux, decodePath }: HashSystem) {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants;
  // The job chose what is at a path. So nothing is opened but a handle that neither reads nor writes (open(2), O_PATH),
  // harmless even for a device of the host; only a file below a writable root is then opened for reading.
  const asHandle = O_NOFOLLOW | (onLinux ? 0o10000000 : O_RDONLY | O_NONBLOCK);
  const readAtOnce = 1024 * 1024;
  let buffer: Buffer | undefined;

  interface Budget {
    bytes: number;
    readonly until: number;
    readonly known: Map<string, HashAnswer>;
  }

  function answerFor(path: string, roots: readonly string[], budget: Budget): HashAnswer {
    let fd: number;
    try {
      fd = fs.openSync(path, asHandle);
    } catch (error) {
      return { reason: toReason(error) };
    }
    try {
      return judge(fd, path, roots, budget);
    } catch (error) {
      return { reason: toReason(error) };
    } finally {
      fs.closeSync(fd);
    }
  }

  // Only the open file itself is judged, as names can be swapped meanwhile.
  function judge(fd: number, path: string, roots: readonly string[], budget: Budget): HashAnswer {
    const stats = fs.fstatSync(fd, { bigint: true });
    if (!stats.isFile()) return { reason: 'not_a_file' };
    const place = placeOf(fd, path, stats);
    if (!roots.some((root) => place === root || place?.startsWith(`${root}/`) === true))
      return { reason: 'not_writable' };
    const id = `${stats.dev}:${stats.ino}`;
    const known = budget.known.get(id);
    if (known !== undefined) return known;
    if (stats.size > budget.bytes) return { reason: 'artifact_bytes' };
    const answer = readWhole(fd, stats, budget);
    budget.known.set(id, answer);
    return answer;
  }

  // proc_pid_fd(5): the link says where the open file is. Elsewhere, the path must lead to the very same file.
  function placeOf(fd: number, path: string, { dev, ino }: NodeFs.BigIntStats): string | undefined {
    if (onLinux) return decodePath(fs.readlinkSync(`/proc/self/fd/${fd}`, 'buffer'));
    const place = fs.realpathSync(path);
    const found = fs.statSync(place, { bigint: true });
    return found.dev === dev && found.ino === ino ? place : undefined;
  }

  function readWhole(fd: number, before: NodeFs.BigIntStats, budget: Budget): HashAnswer {
    // fcntl(2): where another process has a lease, O_NONBLOCK is told so (EAGAIN) instead of waiting for it.
    const file = onLinux ? fs.openSync(`/proc/self/fd/${fd}`, O_RDONLY | O_NONBLOCK) : fd;
    try {
      const hash = createHash('sha256');
      buffer ??= Buffer.allocUnsafe(readAtOnce);
      for (let total = 0; total <= before.size; ) {
        if (performance.now() > budget.until) return { reason: 'artifact_sec' };
        const read = fs.readSync(file, buffer);
        if (read === 0)
          return isSame(before, fs.fstatSync(file, { bigint: true }), total)
            ? { sha256: hash.digest('hex') }
            : { reason: 'changed' };
        hash.update(buffer.subarray(0, read));
        total += read;
        budget.bytes -= read;
      }
      return { reason: 'changed' };
    } finally {
      if (file !== fd) fs.closeSync(file);
    }
  }

  // What is hashed while another writes is no state that the file ever had.
  function isSame(before: NodeFs.BigIntStats, after: NodeFs.BigIntStats, length: number): boolean {
    return (
      BigInt(length) === after.size && before.mtimeNs === after.mtimeNs && before.ctimeNs === after.ctimeNs
    );
  }

  function toReason(error: unknown): LeftOutReason {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing';
    if (code === 'ELOOP') return 'not_a_file';
    return code === 'EAGAIN' ? 'busy' : 'unreadable';
  }

  return (
    { paths, roots, maxBytes, ms }: HashRequest,
    onAnswer: (index: number, answer: HashAnswer) => void,
  ): number => {
    const budget: Budget = { bytes: maxBytes, until: performance.now() + ms, known: new Map() };
    for (const [index, path] of paths.entries()) {
      if (performance.now() > budget.until) break;
      onAnswer(index, answerFor(path, roots, budget));
    }
    return budget.bytes;
  };
}
