import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';

/** What a CA has done, one JSON object a line, for good. */
export interface AuditLog {
  /** On disk when it returns. Throws FILE_UNWRITABLE: what cannot be written down is not done. */
  write(entry: AuditEntry): void;
  close(): void;
}

/** No token, and no key. */
export type AuditEntry = {
  readonly event: 'token' | 'joined' | 'renewed' | 'refused' | 'revoked';
} & Readonly<Record<string, unknown>>;

/** The audit log in a CA's state directory, which is only ever added to. Throws FILE_UNWRITABLE. */
export function openAuditLog(stateDir: string, now: () => Date): AuditLog {
  makeDirectory(stateDir, { mode: 0o700 });
  const path = join(stateDir, 'audit.jsonl');
  const fd = guarded(path, () => openSync(path, 'a+', 0o600));
  return {
    write: (entry) => {
      const line = Buffer.from(`${JSON.stringify({ at: now().toISOString(), ...entry })}\n`);
      // One write: O_APPEND has lines of two processes stand one after the other.
      guarded(path, () => {
        const bytes = isCutOff(fd) ? Buffer.concat([newline, line]) : line;
        // A disk that gets full takes a part of it, and says so with the next write.
        if (writeSync(fd, bytes) < bytes.length)
          throw Object.assign(new Error('a part was written'), { code: 'ENOSPC' });
        fsyncSync(fd);
      });
    },
    close: () => closeSync(fd),
  };
}

const newline = Buffer.from('\n');

// Whether what was written last, by whomever, has no end: the next would stand on its line, and neither could be read.
function isCutOff(fd: number): boolean {
  const { size } = fstatSync(fd);
  const last = Buffer.alloc(1);
  return size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && !last.equals(newline);
}

function guarded<T>(path: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    throw new CscError('FILE_UNWRITABLE', `failed to write ${path}: ${explainFileError(cause, 'write')}`, {
      cause,
    });
  }
}
