import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, readlink, realpath, stat } from 'node:fs/promises';
import { isCoveredBy } from '@csc-fleet/common/paths';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { descriptorPath, O_PATH } from '../sandbox/index.ts';

type Artifact = NonNullable<ReceiptV02['artifacts']>[number];

/** What artifacts are held against. */
export interface ArtifactRules {
  /** The files and directories that the commands could write. */
  readonly writableRoots: readonly string[];
  /** The largest file that is hashed, in bytes. */
  readonly maxBytes: number;
}

/**
 * Hashes those of the expected outputs that are regular files below a writable root. What is missing, a symlink, too
 * large, or elsewhere, is left out.
 */
export async function hashArtifacts(expected: readonly string[], rules: ArtifactRules): Promise<Artifact[]> {
  const artifacts: Artifact[] = [];
  for (const path of new Set(expected)) {
    const sha256 = await hashArtifact(path, rules).catch(() => undefined);
    if (sha256 !== undefined) artifacts.push({ path, sha256 });
  }
  return artifacts;
}

// The job chose what is at this path. So nothing is opened but a handle that neither reads nor writes, which is harmless
// even for a device of the host; only where that is a file below a writable root is it opened for reading. And only the
// open file itself is judged, as names can be swapped meanwhile.
async function hashArtifact(path: string, rules: ArtifactRules): Promise<string | undefined> {
  const handle = await open(path, handleFlags);
  try {
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile() || stats.size > rules.maxBytes) return undefined;
    const place = await placeOf(handle, path, stats);
    if (place === undefined || !isCoveredBy(place, rules.writableRoots)) return undefined;
    return await hashHandle(handle, rules.maxBytes);
  } finally {
    await handle.close();
  }
}

// Without Linux there is no O_PATH: then O_NONBLOCK at least keeps a FIFO that nobody writes to from holding us up.
const onLinux = process.platform === 'linux';
const handleFlags = constants.O_NOFOLLOW | (onLinux ? O_PATH : constants.O_RDONLY | constants.O_NONBLOCK);

async function hashHandle(handle: FileHandle, maxBytes: number): Promise<string | undefined> {
  if (!onLinux) return await hashFile(handle, maxBytes);
  const file = await open(descriptorPath(handle.fd), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await hashFile(file, maxBytes);
  } finally {
    await file.close();
  }
}

// proc_pid_fd(5): the link says where the open file is. Elsewhere, the path must lead to the very same file.
async function placeOf(handle: FileHandle, path: string, stats: BigIntStats): Promise<string | undefined> {
  if (onLinux) return readlink(descriptorPath(handle.fd));
  const place = await realpath(path);
  const found = await stat(place, { bigint: true });
  return found.dev === stats.dev && found.ino === stats.ino ? place : undefined;
}

const readAtOnce = 1024 * 1024;

async function hashFile(handle: FileHandle, maxBytes: number): Promise<string | undefined> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(readAtOnce);
  for (let total = 0; total <= maxBytes; ) {
    const { bytesRead } = await handle.read(buffer, 0, readAtOnce);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
    total += bytesRead;
  }
  return undefined;
}
