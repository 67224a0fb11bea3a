import type { Dirent, Stats } from 'node:fs';
import { posix } from 'node:path';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { isWithin, type Walk, walkPath } from '../host/index.ts';
import { HostFiles } from './etc-files.ts';
import { copiedEtc, type EtcEntry, liveEtc } from './etc-table.ts';

/** What sandboxes show of the host's /etc, beside the files that are made up. Paths are the sandbox's own. */
export interface EtcView {
  /** Mounted as they are. */
  readonly live: readonly string[];
  /** The links that lead to the copies, or to what is shown anyway. By path, in order. */
  readonly links: ReadonlyMap<string, string>;
  /** The copies, by their path below the directory of copies. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** The links among the copies. */
  readonly inner: ReadonlyMap<string, string>;
  /** The text of the host's gitconfig; absent where it has none that everybody may see. */
  readonly gitconfig?: string;
  /** Of links, files and inner links. */
  readonly sha256: string;
}

/** Where the rules are by which it is gathered. */
export const etcRules = import.meta.url;

/** Where a sandbox has the copies. */
export const etcCopies = '/etc/.host';

const maxFileBytes = 2 * 1024 * 1024;
const maxBytes = 64 * 1024 * 1024;
const maxEntries = 10_000;

/**
 * Reads what sandboxes show of a host's /etc. Who may be anybody may see it: a file that is not for everybody to read, and
 * what lies in a directory that is not, is left out, as is whatever looks like a private key, or a password where such are
 * written. A link that leads out of what sandboxes show becomes what it leads to.
 * @param shown other trees that sandboxes show, such as /usr
 * @param files of the host
 */
export function gatherEtc(shown: readonly string[], files = new HostFiles('/')): EtcView {
  const gathering = new Gathering(shown, files);
  for (const { path } of liveEtc) gathering.addLive(path);
  for (const entry of copiedEtc) for (const path of gathering.expand(entry.path)) gathering.add(path, entry);
  return gathering.view();
}

class Gathering {
  readonly #shown: readonly string[];
  readonly #host: HostFiles;
  readonly #live: string[] = [];
  readonly #links = new Map<string, string>();
  readonly #files = new Map<string, Buffer>();
  readonly #inner = new Map<string, string>();
  #gitconfig: string | undefined;
  #bytes = 0;

  constructor(shown: readonly string[], host: HostFiles) {
    this.#shown = shown;
    this.#host = host;
  }

  view(): EtcView {
    const files = [...this.#files].map(([path, bytes]) => [path, sha256Hex(bytes)]);
    return {
      live: this.#live,
      links: this.#links,
      files: this.#files,
      inner: this.#inner,
      ...(this.#gitconfig === undefined ? {} : { gitconfig: this.#gitconfig }),
      sha256: sha256Hex(JSON.stringify([[...this.#links], files, [...this.#inner]])),
    };
  }

  /** The paths that a path of the table stands for. */
  expand(path: string): string[] {
    if (!path.includes('*')) return [path];
    const directory = posix.dirname(path);
    const name = new RegExp(`^${posix.basename(path).replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
    return this.#host
      .entries(directory)
      .flatMap((it) => (name.test(it.name) ? [posix.join(directory, it.name)] : []));
  }

  addLive(path: string): void {
    const stats = this.#publicStats(path);
    // A link is a link in the sandbox too, and what it leads to may be live by its own name.
    if (stats === undefined || this.#walk(path)?.path !== path) return;
    const trees = [...this.#shown, ...liveEtc.map((it) => it.path)];
    // Which of its hundreds of links lead nowhere is the administrator's to mend.
    if (stats.isFile() || path === '/etc/alternatives' || this.#leadsOnlyTo(path, trees))
      this.#live.push(path);
  }

  add(path: string, entry: EtcEntry): void {
    if (this.#isLive(path) || this.#links.has(path)) return;
    const walk = this.#walk(path);
    if (walk === undefined || this.#publicStats(walk.path) === undefined) return;
    if (path === '/etc/gitconfig') {
      this.#gitconfig = this.#read(walk.path, entry)?.toString('utf8');
      return;
    }
    if (this.#isShownByItself(walk.path)) {
      this.#links.set(path, walk.path);
      return;
    }
    // A link to something else of /etc, and whatever leads out of it, is a copy by this name.
    const copy = path.slice(1).replace(/^etc\//, '');
    if (this.#copy(walk.path, copy, entry)) this.#links.set(path, toRelative(path, copy));
  }

  /** Copies a file or a tree; false where nothing of it was. */
  #copy(source: string, copy: string, entry: EtcEntry, depth = 0): boolean {
    const stats = this.#publicStats(source);
    if (stats === undefined || depth > 16 || this.#files.size + this.#inner.size >= maxEntries) return false;
    if (stats.isFile()) {
      const bytes = this.#read(source, entry);
      if (bytes === undefined) return false;
      this.#files.set(copy, bytes);
      this.#bytes += bytes.length;
      return true;
    }
    if (!stats.isDirectory()) return false;
    return (
      this.#host
        .entries(source)
        .map((found) => this.#copyOne(source, found, `${copy}/${found.name}`, entry, depth + 1))
        .filter(Boolean).length > 0
    );
  }

  #copyOne(top: string, found: Dirent, copy: string, entry: EtcEntry, depth: number): boolean {
    const source = `${top}/${found.name}`;
    const target = found.isSymbolicLink() ? this.#host.look(source)?.target : undefined;
    if (target === undefined) return this.#copy(source, copy, entry, depth);
    const walk = this.#walk(source);
    // One to a directory above it has no end.
    if (walk === undefined || isWithin(source, walk.path)) return false;
    // What is beside it is copied as well, and relative links from one copy to another still hold.
    const staysWithin = !target.startsWith('/') && isWithin(posix.join(posix.dirname(source), target), top);
    if (staysWithin || this.#isShownByItself(walk.path)) {
      this.#inner.set(copy, staysWithin ? target : walk.path);
      return true;
    }
    return this.#copy(walk.path, copy, entry, depth);
  }

  #leadsOnlyTo(directory: string, trees: readonly string[], depth = 0): boolean {
    if (depth > 4) return false;
    return this.#host.entries(directory).every((entry) => {
      const path = `${directory}/${entry.name}`;
      if (!entry.isSymbolicLink()) return !entry.isDirectory() || this.#leadsOnlyTo(path, trees, depth + 1);
      const target = this.#host.target(path);
      // Hundreds of certificates lead to /usr, or are one beside another by its hash.
      if (target === undefined || !target.includes('/') || target.startsWith('/usr/')) return true;
      const end = this.#walk(path)?.path;
      return end === undefined || [directory, ...trees].some((tree) => isWithin(end, tree));
    });
  }

  #read(path: string, { checked }: EtcEntry): Buffer | undefined {
    const bytes = this.#host.read(path, maxFileBytes);
    if (bytes === undefined || this.#bytes + bytes.length > maxBytes) return undefined;
    const isSecret =
      bytes.includes('PRIVATE KEY-----') || (checked === true && holdsPassword(bytes.toString('latin1')));
    return isSecret ? undefined : bytes;
  }

  #isLive(path: string): boolean {
    return this.#live.some((live) => isWithin(path, live));
  }

  #isShownByItself(path: string): boolean {
    return this.#isLive(path) || this.#shown.some((tree) => isWithin(path, tree));
  }

  // Undefined where somebody of this host may not see it. The path is free of links.
  #publicStats(path: string): Stats | undefined {
    if (!this.#host.isOpen(posix.dirname(path))) return undefined;
    const stats = this.#host.stats(path);
    return stats === undefined || (stats.mode & 0o004) === 0 ? undefined : stats;
  }

  #walk(path: string): Walk | undefined {
    return walkPath(path, (at) => this.#host.look(at));
  }
}

function toRelative(path: string, copy: string): string {
  return posix.relative(posix.dirname(path), posix.join(etcCopies, copy));
}

const password =
  /<(?:password|passphrase|privateKey|httpHeaders|token|secret)\b|\w*(?:passw(?:or)?d|passphrase|_pw|secret|token|extraheader|authorization)\w*[ \t]*[=:][ \t]*["']?[^\s"';]|^\s*\[\s*credential|:\/\/[^\s/@]+@/im;

/** Whether a configuration file looks like one with a password or something of the kind; comments do not count. */
export function holdsPassword(text: string): boolean {
  return password.test(text.replaceAll(/<!--[\s\S]*?-->/g, '').replaceAll(/^\s*[#;].*$/gm, ''));
}
