import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A file system of its own, a few MiB of memory, that a test can fill and make room in. */
export class SmallDisk {
  readonly path: string;

  /** Mounted at a path, which is made if need be. Takes root. */
  constructor(path: string, bytes: number) {
    this.path = path;
    mkdirSync(path, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'csc-test', path]);
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  /** To the last page, also of what others give back or take meanwhile. */
  fill(): void {
    while (this.freeBytes > 0) {
      try {
        writeFileSync(this.#ballast, Buffer.alloc(this.freeBytes), { flag: 'a' });
      } catch (error) {
        // Somebody else was faster.
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
      }
    }
  }

  makeRoom(): void {
    rmSync(this.#ballast, { force: true });
  }

  /** While no file of it is open to be written. */
  turn(how: 'ro' | 'rw'): void {
    execFileSync('mount', ['-o', `remount,${how}`, this.path]);
  }

  /** Lazily: what did not even start may still hold it. */
  unmount(): void {
    execFileSync('umount', ['--lazy', this.path]);
  }

  get #ballast(): string {
    return join(this.path, 'ballast');
  }
}
