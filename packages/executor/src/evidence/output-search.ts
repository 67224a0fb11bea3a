import type * as NodeFs from 'node:fs';

/** An expected output that may stand for several files, as the measuring child is asked for it. */
export interface OutputPattern {
  /** As it was declared: where there is a file of that very name, it is meant. */
  readonly declared: string;
  /** The directory above its first name that is a pattern, as it was declared. */
  readonly base: string;
  /** Of the names below that, a regular expression each, or `**` for any number of directories. */
  readonly names: readonly string[];
  /** All files below what is named are meant, at any depth. */
  readonly isTree: boolean;
}

export interface SearchRequest {
  readonly patterns: readonly OutputPattern[];
  /** The files and directories that the commands could write. Absolute and free of symlinks: nothing else is found. */
  readonly roots: readonly string[];
  /** Files of all patterns together. */
  readonly most: number;
  readonly ms: number;
}

/** A file that a pattern stands for; or why it may stand for more. */
export type SearchAnswer = { readonly path: string } | { readonly cut: Cut };

type Cut = 'receipt_bytes' | 'artifact_sec' | 'unreadable';

/**
 * How an expected output is looked for: `X/` and `X/**` are all files below X; `*`, `?`, `[…]` and `**` are as in
 * read_paths. Undefined where it names one file. Pure.
 */
export function toOutputPattern(declared: string): OutputPattern | undefined {
  if (!declared.startsWith('/')) return undefined;
  const isTree = /\/(?:\*\*)?$/.test(declared);
  if (!isTree && !isGlob(declared)) return undefined;
  const names = declared.split('/').filter((name) => name !== '' && name !== '.');
  if (declared.endsWith('/**')) names.pop();
  const first = names.findIndex(isGlob);
  const plain = first < 0 ? names : names.slice(0, first);
  const rest = first < 0 ? [] : names.slice(first);
  return { declared, base: `/${plain.join('/')}`, names: rest.map(toExpression), isTree };
}

function isGlob(path: string): boolean {
  return /[*?[]/.test(path);
}

// Never run in this process: the child that does so has its time, and is killed at the end of it.
function toExpression(name: string): string {
  if (name === '**') return name;
  const parts = name.match(/\*+|\?|\[!?[^\]]+\]|./gsu) ?? [];
  return `^${/^[*?[]/.test(name) ? '(?!\\.)' : ''}${parts.map(toPart).join('')}$`;
}

function toPart(part: string): string {
  if (part.startsWith('*')) return '.*';
  if (part === '?') return '.';
  if (part.length < 3 || !part.startsWith('[')) return quote(part);
  const negated = part.startsWith('[!');
  const ranges = part.slice(negated ? 2 : 1, -1).matchAll(/(.)-(.)|(.)/gsu);
  const set = [...ranges].map(([, from, to, one = '']) =>
    from === undefined || to === undefined ? quote(one) : from <= to ? `${quote(from)}-${quote(to)}` : '',
  );
  return `[${negated ? '^' : ''}${set.join('')}]`;
}

function quote(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&');
}

/**
 * Finds the regular files that patterns stand for, by their declared names. What it finds is only looked at again when it
 * is hashed: it is not to be believed before. Symlinked directories are not searched.
 *
 * Its text is a part of the measuring child's program: it must refer to nothing but its parameters and Node's globals.
 */
export function createOutputSearch(fs: typeof NodeFs) {
  interface Place {
    readonly declared: string;
    readonly real: string;
    /** How many of the names are behind it. */
    readonly at: number;
  }

  interface Step {
    readonly kind: 'any' | 'one' | 'tree' | 'file';
    readonly fits: (name: string) => boolean;
  }

  // Within the root, or on the way to it.
  function meets(path: string, root: string): boolean {
    return isWithin(path, root) || isWithin(root, path);
  }

  function realPath(path: string): string | undefined {
    try {
      return fs.realpathSync(path);
    } catch {
      return undefined;
    }
  }

  function isWithin(path: string, root: string): boolean {
    return path === root || path.startsWith(root === '/' ? root : `${root}/`);
  }

  function joined(directory: string, name: string): string {
    return directory === '/' ? `/${name}` : `${directory}/${name}`;
  }

  function exists(path: string): boolean {
    try {
      return path.at(-1) !== '/' && fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    } catch {
      return false;
    }
  }

  // Undefined where the job hides what is there: it has closed a directory of its own, or made it deeper than any path leads.
  function list(path: string): NodeFs.Dirent[] | undefined {
    try {
      return fs.readdirSync(path, { withFileTypes: true });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code === 'ENAMETOOLONG' || (code === 'EACCES' && isOwn(path)) ? undefined : [];
    }
  }

  function isOwn(path: string): boolean {
    try {
      return fs.lstatSync(path).uid === process.geteuid?.();
    } catch {
      // Within another such directory, which was met before.
      return false;
    }
  }

  class Search {
    readonly #roots: readonly string[];
    readonly #until: number;
    readonly #onAnswer: (index: number, answer: SearchAnswer) => void;
    #left: number;
    /** Whether a directory was met that cannot be looked into. */
    #isHidden = false;

    constructor({ roots, most, ms }: SearchRequest, onAnswer: (index: number, answer: SearchAnswer) => void) {
      this.#roots = roots;
      this.#left = most;
      this.#until = performance.now() + ms;
      this.#onAnswer = onAnswer;
    }

    one(index: number, { declared, base, names, isTree }: OutputPattern): void {
      if (exists(declared)) {
        this.#onAnswer(index, { path: declared });
        return;
      }
      const tests = names.map((name) => (name === '**' ? undefined : new RegExp(name, 'su')));
      const real = realPath(base);
      const open: Place[] = real === undefined ? [] : [{ declared: base, real, at: 0 }];
      const seen = new Set<string>();
      this.#isHidden = false;
      for (let place = open.pop(); place !== undefined; place = open.pop()) {
        const key = `${place.at} ${place.real}`;
        if (seen.has(key) || !this.#roots.some((root) => meets(place?.real ?? '', root))) continue;
        seen.add(key);
        const cut = this.#look(place, tests, isTree, open, (path) => {
          const isNew = !seen.has(path);
          seen.add(path);
          if (isNew) this.#onAnswer(index, { path });
          return isNew;
        });
        if (cut !== undefined) {
          this.#onAnswer(index, { cut });
          return;
        }
      }
      if (this.#isHidden) this.#onAnswer(index, { cut: 'unreadable' });
    }

    #look(
      place: Place,
      tests: readonly (RegExp | undefined)[],
      isTree: boolean,
      open: Place[],
      onFile: (path: string) => boolean,
    ): Cut | undefined {
      const { at, declared, real } = place;
      const step = toStep(tests, at, isTree);
      // `**` is no directory, too.
      if (step.kind === 'any') open.push({ declared, real, at: at + 1 });
      const entries = list(real);
      this.#isHidden ||= entries === undefined;
      for (const entry of entries ?? []) {
        if (performance.now() > this.#until) return 'artifact_sec';
        if (!step.fits(entry.name)) continue;
        const below = { declared: joined(declared, entry.name), real: joined(real, entry.name) };
        if (entry.isDirectory() && step.kind !== 'file')
          open.push({ ...below, at: step.kind === 'one' ? at + 1 : at });
        const isFile = entry.isFile() && (step.kind === 'file' || step.kind === 'tree');
        if (!isFile || !this.#roots.some((root) => isWithin(below.real, root))) continue;
        if (this.#left === 0) return 'receipt_bytes';
        if (onFile(below.declared)) this.#left -= 1;
      }
      return undefined;
    }
  }

  // What the entries of a directory may be: a file that is found, a directory on the way to one, or both.
  function toStep(tests: readonly (RegExp | undefined)[], at: number, isTree: boolean): Step {
    if (at === tests.length) return { kind: isTree ? 'tree' : 'file', fits: () => isTree };
    const test = tests[at];
    if (test === undefined) return { kind: 'any', fits: (name) => !name.startsWith('.') };
    const isLast = at === tests.length - 1 && !isTree;
    return { kind: isLast ? 'file' : 'one', fits: (name) => test.test(name) };
  }

  return (request: SearchRequest, onAnswer: (index: number, answer: SearchAnswer) => void): void => {
    const search = new Search(request, onAnswer);
    for (const [index, pattern] of request.patterns.entries()) search.one(index, pattern);
  };
}
