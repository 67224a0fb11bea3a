import { type Dirent, lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { readBoundedFile } from '@csc-fleet/common/files';
import { lookOnHost, readLink } from '../host/index.ts';

/**
 * What is asked of a host's files while its /etc is gathered. Every path has the same few directories above it: each is
 * looked at once. Paths are the host's own.
 */
export class HostFiles {
  readonly #root: string;
  readonly #note: Note;
  readonly #stats = new Map<string, Stats | undefined>();
  readonly #open = new Map<string, boolean>();
  readonly #looks = new Map<string, ReturnType<typeof lookOnHost>>();
  readonly #entries = new Map<string, readonly Dirent[]>();

  /**
   * @param root of the host; other than `/` for tests
   * @param note told of what an answer follows from, before it is asked
   */
  constructor(root: string, note: Note = () => {}) {
    this.#root = root;
    this.#note = note;
  }

  stats(path: string): Stats | undefined {
    return once(this.#stats, path, () => {
      this.#note(this.#onHost(path), 'itself');
      return statSync(this.#onHost(path), { throwIfNoEntry: false });
    });
  }

  /** Whether everybody may go into a directory. */
  isOpen(directory: string): boolean {
    return once(
      this.#open,
      directory,
      () =>
        ((this.stats(directory)?.mode ?? 0) & 0o001) !== 0 &&
        (directory === '/' || this.isOpen(posix.dirname(directory))),
    );
  }

  look(path: string): ReturnType<typeof lookOnHost> {
    return once(this.#looks, path, () => {
      this.#note(this.#onHost(path), 'itself');
      return lookOnHost(this.#onHost(path));
    });
  }

  /** What is in a directory, by name; the directory says what each is, so that none need be asked. */
  entries(directory: string): readonly Dirent[] {
    return once(this.#entries, directory, () => {
      this.#note(this.#onHost(directory), 'content');
      return listEntries(this.#onHost(directory));
    });
  }

  /** Undefined where it cannot be read, or is longer. */
  read(path: string, maxBytes: number): Buffer | undefined {
    this.#note(this.#onHost(path), 'content');
    try {
      return readBoundedFile(this.#onHost(path), { maxBytes }).bytes;
    } catch {
      return undefined;
    }
  }

  /** Where a link of a directory that was listed leads: it can only be replaced, which changes the directory. */
  target(link: string): string | undefined {
    try {
      return readLink(this.#onHost(link));
    } catch {
      return undefined;
    }
  }

  #onHost(path: string): string {
    return this.#root === '/' ? path : `${this.#root}${path}`;
  }
}

/** Whether what is in a directory was asked, or only which directory it is; of anything else it is the same. */
export type Asked = 'itself' | 'content';
type Note = (path: string, asked: Asked) => void;

function once<T>(known: Map<string, T>, path: string, ask: () => T): T {
  if (known.has(path)) return known.get(path) as T;
  const answer = ask();
  known.set(path, answer);
  return answer;
}

function listEntries(directory: string): readonly Dirent[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  } catch {
    return [];
  }
}

/** All from which an answer was found, as it was then. */
export class Sightings {
  readonly #seen = new Map<string, Sight>();
  #isCertain = true;

  /** To be called before it is asked: what changes meanwhile is another one later. */
  readonly note: Note = (path, asked) => {
    const before = this.#seen.get(path);
    if (before?.asked === 'content' || before?.asked === asked) return;
    const { text, changedMs } = identify(path, asked);
    const hasChanged = before !== undefined && !text.startsWith(before.text);
    if (hasChanged || Date.now() - changedMs < youngMs) this.#isCertain = false;
    this.#seen.set(path, { asked, text });
  };

  /** Undefined where something changed meanwhile, or so lately that a change after it would not show. */
  seen(): Seen | undefined {
    if (!this.#isCertain) return undefined;
    return [...this.#seen].map(([path, { asked, text }]) => [path, asked, text]);
  }
}

interface Sight {
  readonly asked: Asked;
  readonly text: string;
}

export type Seen = readonly (readonly [path: string, asked: Asked, identity: string])[];

/** Whether all is as it was. */
export function isStillSo(seen: Seen): boolean {
  return seen.every(([path, asked, text]) => identify(path, asked).text === text);
}

// What is written again within one tick of the kernel's clock has the time of before (4 ms; 10 at most).
const youngMs = 20;

// Nobody can set ctime (inode(7)). What is in a directory changes its times, and is asked by its own name.
function identify(path: string, asked: Asked): { readonly text: string; readonly changedMs: number } {
  const own = look(path, lstatSync);
  if (own === undefined) return { text: '', changedMs: 0 };
  const { dev, ino, mode, uid, size, mtimeNs, ctimeNs, ctimeMs } = own;
  if (own.isDirectory() && asked === 'itself') return { text: `${dev} ${ino} ${mode} ${uid}`, changedMs: 0 };
  const text = `${dev} ${ino} ${mode} ${uid} ${size} ${mtimeNs} ${ctimeNs}`;
  if (!own.isSymbolicLink()) return { text, changedMs: Number(ctimeMs) };
  const end = look(path, statSync);
  const led = end === undefined ? '' : `${end.dev} ${end.ino} ${end.mode} ${end.uid} ${end.ctimeNs}`;
  return { text: `${text} > ${led}`, changedMs: Number(ctimeMs) };
}

function look(path: string, stat: typeof lstatSync | typeof statSync) {
  try {
    return stat(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
