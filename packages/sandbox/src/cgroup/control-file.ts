import { readFileSync, writeFileSync } from 'node:fs';

/** Writes one of the kernel's files. Throws what it says, with `path` also where the write itself is refused. */
export function writeControl(path: string, value: string): void {
  try {
    // Without O_CREAT: the file is the kernel's, or it is not there.
    writeFileSync(path, value, { flag: 'r+' });
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { path });
  }
}

/** Writes it where that is possible. */
export function tryWriteControl(path: string, value: string): void {
  try {
    writeControl(path, value);
  } catch {
    // Not there, or not for this process.
  }
}

/** What one of the kernel's files says; undefined where it cannot be read. */
export function readControl(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
