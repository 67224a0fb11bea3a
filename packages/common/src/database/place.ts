import { fstatSync, type Stats, statSync } from 'node:fs';

// Two system calls: what is asked for more often than this is answered as before.
const betweenLooksMs = 50;

/**
 * Whether the files of an open database are still what its path leads to. Whoever deletes or moves them, or mounts something over
 * them, has SQLite go on with files that the next start does not find: what it commits is lost then, without an error.
 */
export class DatabasePlace {
  readonly #path: string;
  readonly #database: string;
  readonly #log: string;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isKept = true;

  /** @param log a descriptor of its write-ahead log */
  constructor(path: string, log: number) {
    this.#path = path;
    this.#database = nameOf(statSync(path));
    this.#log = nameOf(fstatSync(log));
  }

  /** Holds again once all is where it was. */
  get isKept(): boolean {
    const now = performance.now();
    if (now - this.#lookedAt < betweenLooksMs) return this.#isKept;
    this.#lookedAt = now;
    this.#isKept = isFile(this.#path, this.#database) && isFile(`${this.#path}-wal`, this.#log);
    return this.#isKept;
  }
}

function isFile(path: string, name: string): boolean {
  try {
    return nameOf(statSync(path)) === name;
  } catch {
    return false;
  }
}

function nameOf({ dev, ino }: Stats): string {
  return `${dev} ${ino}`;
}

/** What SQLite calls it (SQLITE_READONLY_DBMOVED, https://www.sqlite.org/rescode.html), and looks for in rollback mode alone. */
export const movedCode = 1032;

/** An error as SQLite's own, of a database that is not where it was. */
export class MovedError extends Error {
  readonly errcode = movedCode;

  constructor(path: string) {
    super(`${path} is not the file that was opened: it was moved, deleted or mounted over`);
  }
}
