import type * as NodeFs from 'node:fs';
import type { Written } from './written.ts';

export interface WalkRequest {
  /** Absolute, free of symlinks, none within another. */
  readonly roots: readonly string[];
  /** By the file system's clock, in nanoseconds: what was made or changed since counts. */
  readonly since: bigint;
  /** The most entries that are looked at, and the most time that it takes, in milliseconds. */
  readonly entries: number;
  readonly ms: number;
}

export interface WalkSystem {
  readonly fs: typeof NodeFs;
  /** False: no /proc, so paths are used, and nothing deeper than a path is seen. */
  readonly onLinux: boolean;
  /** As the sandbox's names are encoded: see there. */
  readonly encodePath: (path: string) => string | Buffer;
  readonly decodePath: (bytes: Buffer) => string;
  /** Whether it may change the working directory of this process: names are found twice as fast from there. */
  readonly mayMove: boolean;
}

/**
 * A walk over what jobs may have written. It goes from directory to directory by descriptors, so it gets as deep as a job
 * does (no path does: path_resolution(7)) and follows no symlink. It takes no longer than it may, whatever the tree is.
 *
 * Its text is a part of the measuring child's program: it must refer to nothing but its parameters and Node's globals.
 */
export function createTreeWalk({
  fs,
  onLinux,
  mayMove,
  encodePath,
  decodePath,
}: WalkSystem): (request: WalkRequest) => Written {
  const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants;
  // open(2): O_PATH, which opens nothing but a handle.
  const asHandle = onLinux ? 0o10000000 | O_NOFOLLOW : O_RDONLY | O_NOFOLLOW;
  // A job may go down a million levels; beyond these, the way back up is "..", which must lead where the walk came from.
  const mostKeptOpen = 64;
  const slash = Buffer.from('/');

  interface Level {
    fd: number;
    /** What names in it are put behind. */
    prefix: Buffer;
    readonly id: string;
    readonly isNew: boolean;
    /** Directories in it that are still to be walked, last first. */
    pending: Buffer[];
  }

  class Walk {
    files = 0;
    inodes = 0;
    bytes = 0;
    complete = true;
    readonly #since: bigint;
    readonly #until: number;
    #left: number;
    readonly #linked = new Set<string>();

    constructor({ since, entries, ms }: WalkRequest) {
      this.#since = since;
      this.#left = entries;
      this.#until = performance.now() + ms;
    }

    root(path: string): void {
      const levels: Level[] = [];
      try {
        const bytes = encodePath(path);
        const fd = fs.openSync(bytes, asHandle);
        const stats = fs.fstatSync(fd, { bigint: true });
        const level = this.#toLevel(fd, Buffer.from(bytes), stats);
        levels.push(level);
        // A directory on the way may have been swapped for a symlink since.
        if (onLinux && decodePath(fs.readlinkSync(`/proc/self/fd/${fd}`, 'buffer')) !== path)
          this.complete = false;
        else if (!stats.isDirectory()) this.#count(stats);
        else this.#walk(level, stats, levels);
      } catch (error) {
        if (!isGone(error)) this.complete = false;
      } finally {
        for (const { fd } of levels) if (fd >= 0) fs.closeSync(fd);
      }
    }

    #walk(top: Level, stats: NodeFs.BigIntStats, levels: Level[]): void {
      this.#count(stats);
      this.#list(top, stats);
      for (let level = levels.at(-1); level !== undefined && this.#hasTime(); level = levels.at(-1)) {
        const name = level.pending.pop();
        if (name === undefined) this.#leave(level, levels);
        else this.#enter(level, name, levels);
      }
    }

    #enter(parent: Level, name: Buffer, levels: Level[]): void {
      const path = Buffer.concat([parent.prefix, name]);
      let fd: number;
      try {
        fd = fs.openSync(path, asHandle | O_DIRECTORY);
      } catch (error) {
        // What has gone meanwhile is nothing; so is what is a symlink by now, which was counted as what it was.
        if (!isGone(error)) this.complete = false;
        return;
      }
      const stats = fs.fstatSync(fd, { bigint: true });
      const level = this.#toLevel(fd, path, stats);
      levels.push(level);
      const far = levels.at(-1 - mostKeptOpen);
      if (onLinux && far !== undefined && far.fd >= 0) {
        fs.closeSync(far.fd);
        far.fd = -1;
      }
      this.#list(level, stats);
    }

    #leave(level: Level, levels: Level[]): void {
      const parent = levels.at(-2);
      if (parent !== undefined && onLinux) {
        if (parent.fd < 0) this.#reopen(parent, level);
        if (mayMove) process.chdir(`/proc/self/fd/${parent.fd}`);
      }
      levels.pop();
      fs.closeSync(level.fd);
    }

    #reopen(parent: Level, level: Level): void {
      const fd = fs.openSync(`/proc/self/fd/${level.fd}/..`, asHandle | O_DIRECTORY);
      parent.fd = fd;
      // It was moved meanwhile: the rest of its old place is not to be found from here.
      if (toId(fs.fstatSync(fd, { bigint: true })) !== parent.id) throw new Error('moved');
      parent.prefix = prefixOf(fd);
    }

    #list(level: Level, stats: NodeFs.BigIntStats): void {
      try {
        if (onLinux && mayMove) process.chdir(`/proc/self/fd/${level.fd}`);
        this.#look(level);
      } catch (error) {
        if (isGone(error)) return;
        // Closed to this user: an older directory has nothing new in it, or it was opened and closed, which is a change.
        const own = stats.uid === BigInt(process.geteuid?.() ?? 0);
        if (stats.ctimeNs >= this.#since && own) this.complete = false;
      }
    }

    #look(level: Level): void {
      const older: Buffer[] = [];
      const path = onLinux ? `/proc/self/fd/${level.fd}` : level.prefix.subarray(0, -1);
      const directory = fs.opendirSync(path as string, { encoding: 'buffer' as never, bufferSize: 128 });
      try {
        for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
          if (!this.#hasTime()) break;
          // With that encoding names are bytes, which the types do not know of: a job can choose such as are no text.
          const name = entry.name as unknown as Buffer;
          const stats = fs.lstatSync(Buffer.concat([level.prefix, name]), {
            bigint: true,
            throwIfNoEntry: false,
          });
          if (stats === undefined) continue;
          const isChanged = this.#count(stats);
          // Names take room as well. In a new directory they are part of it; an older one is not all this job's.
          if (isChanged && !level.isNew) this.bytes += 8 + name.length;
          // What has changed first, so that it is seen where time runs out.
          if (stats.isDirectory()) (isChanged ? level.pending : older).push(name);
        }
      } finally {
        directory.closeSync();
        level.pending = [...older, ...level.pending];
      }
    }

    /** False for what is as it was. */
    #count(stats: NodeFs.BigIntStats): boolean {
      if (stats.ctimeNs < this.#since) return false;
      if (stats.isDirectory()) this.#countDirectory(stats);
      else if (stats.nlink < 2n || this.#isFirst(toId(stats))) {
        // stat(2): 512 bytes each.
        this.#add(Number(stats.blocks) * 512);
        if (stats.isFile()) this.files += 1;
      }
      return true;
    }

    // One that was there before was changed by a name in it: what it takes is mostly that of others. Where the file
    // system does not say when it was made (0), it counts as new, but not with more than a new one takes.
    #countDirectory({ birthtimeNs, blocks }: NodeFs.BigIntStats): void {
      const bytes = Number(blocks) * 512;
      if (birthtimeNs === 0n) this.#add(Math.min(bytes, 4096));
      else if (birthtimeNs >= this.#since) this.#add(bytes);
    }

    #add(bytes: number): void {
      this.inodes += 1;
      this.bytes += bytes;
    }

    #isFirst(id: string): boolean {
      if (this.#linked.has(id)) return false;
      this.#linked.add(id);
      return true;
    }

    #hasTime(): boolean {
      this.#left -= 1;
      if (this.#left > 0 && (this.#left % 32 !== 0 || performance.now() < this.#until)) return true;
      this.#left = 0;
      this.complete = false;
      return false;
    }

    #toLevel(fd: number, path: Buffer, stats: NodeFs.BigIntStats): Level {
      const prefix = onLinux ? prefixOf(fd) : Buffer.concat([path, slash]);
      return { fd, prefix, id: toId(stats), isNew: stats.birthtimeNs >= this.#since, pending: [] };
    }
  }

  function prefixOf(fd: number): Buffer {
    return mayMove ? Buffer.alloc(0) : Buffer.from(`/proc/self/fd/${fd}/`);
  }

  function toId({ dev, ino }: NodeFs.BigIntStats): string {
    return `${dev}:${ino}`;
  }

  function isGone(error: unknown): boolean {
    return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '');
  }

  return (request) => {
    const walk = new Walk(request);
    for (const root of request.roots) walk.root(root);
    const { files, inodes, bytes, complete } = walk;
    return { files, inodes, bytes, complete };
  };
}
