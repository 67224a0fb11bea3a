import { closeSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import { type OpenPath, openResolved, showPath } from '../host/index.ts';
import type { RunFacts } from './facts.ts';
import type { SearchBudget } from './glob.ts';
import type { WayToKept } from './kept-places.ts';
import type { ScopeClaims } from './scope-claims.ts';

/** What a command may see, as its contract and policy say it. */
export interface ScopeRequest {
  readonly cwd: string;
  readonly readPaths: readonly string[];
  readonly writePaths: readonly string[];
  /** The contract's expected outputs, which are files. Absent: none. */
  readonly outputs?: readonly string[];
  /** The arguments of the command: what leads into a write path says that it is a directory. Absent: none. */
  readonly words?: readonly string[];
  readonly policy: ScopePrefixes;
  /** What the host's owner opens at all; absent: everything. */
  readonly roots?: readonly string[];
  /** Who else may change what right now. Absent: not known, so everybody what they may by its mode. */
  readonly claims?: ScopeClaims;
}

/** The part of a policy that scopes are held against once their symlinks are resolved. */
export interface ScopePrefixes {
  readonly allowed_cwd_prefixes: readonly string[];
  readonly allowed_read_prefixes: readonly string[];
  readonly allowed_write_prefixes: readonly string[];
}

/** One file or directory of the host that a sandbox shows, held open by an O_PATH descriptor of the executor. */
export interface ScopeBind {
  readonly fd: number;
  /** The path on the host, free of symlinks. */
  readonly source: string;
  /** Where the sandbox shows it. */
  readonly destination: string;
  readonly writable: boolean;
}

/** What `resolveScopes` found and holds open. Call `close` when the run is over. */
export interface ResolvedScopes {
  /** In mounting order. Below a writable one are none but read-only ones, in directories that no job can change. */
  readonly binds: readonly ScopeBind[];
  /** What the command can write, with all below it, free of symlinks: outermost only. */
  readonly writes: readonly string[];
  /** Empty directories that the view needs beside the binds, such as a cwd that no scope shows. */
  readonly directories: readonly string[];
  /** Directories that a bind or the system's trees would show, and that show only the binds and links in them. */
  readonly masks: readonly string[];
  /** Of both, those that can be entered and not listed. */
  readonly unlisted: readonly string[];
  /** Symlinks on the way to a declared path, or beside what is masked, that no bind shows. */
  readonly links: readonly ScopeLink[];
  /** The working directory inside the sandbox. */
  readonly cwd: string;
  /** For people: what was dropped, is missing or was expanded, and why. */
  readonly notes: readonly string[];
  /** Scopes that the job user certainly may not write or read, by owner and mode, for people. */
  readonly closed: readonly string[];
  /** What may be why a command fails in there, for people, where it does. */
  readonly hints: readonly string[];
  /** Directories that jobs may write and that must not change until the sandbox is built: write scopes go below them. */
  readonly fixed: readonly string[];
  /** Write paths that policy and host allow and that are not there: no bind shows them. */
  readonly missing: readonly string[];
  close(): void;
}

export interface ScopeLink {
  readonly path: string;
  readonly target: string;
}

/** What a request resolved to so far, and the descriptors that are open for it. */
export interface Resolution {
  readonly request: ScopeRequest;
  readonly facts: RunFacts;
  readonly descriptors: Set<number>;
  readonly links: Map<string, ScopeLink>;
  readonly search: SearchBudget;
  readonly waysToKept: () => readonly WayToKept[];
  readonly waysToSecret: () => readonly WayToKept[];
  /** Write paths that are still to be made, as declared, with the directories above them: outermost first. */
  readonly missing: Map<string, MissingPath>;
  readonly notes: string[];
}

/** What a write path that is not there is made as. */
export interface MissingPath {
  /** Where it will be, free of symlinks as far as it is there. */
  readonly place: string;
  readonly kind: 'file' | 'directory';
  /** Where the contract leaves it open: why this kind, for its author. */
  readonly guess?: string;
}

/** One scope, open, free of symlinks, and inside the policy's prefixes. */
export interface OpenScope extends OpenPath {
  readonly writable: boolean;
}

// The gate takes no more of them in one message, nor longer ones.
const mostNotes = 32;
const mostNoteLength = 2000;

/** Tells people something of the scopes. What is beyond the room that there is for it is only counted, at the end. */
export function finishNotes(notes: readonly string[]): string[] {
  const said = [...new Set(notes)];
  const rest = said.length - mostNotes;
  const kept = said.slice(0, mostNotes).map((note) => note.slice(0, mostNoteLength));
  return rest > 0 ? [...kept, `and ${rest} more notes of this kind`] : kept;
}

/** What is left out of a pattern or of a tree, in one note: the first few by name. Nothing: no note. */
export function noteLeftOut(
  { notes }: Resolution,
  paths: readonly string[],
  from: string,
  why: string,
): void {
  if (paths.length === 0) return;
  const named = paths.slice(0, 3).map(showPath).join(', ');
  const more = paths.length > 3 ? ` and ${paths.length - 3} more` : '';
  notes.push(`left out of ${showPath(from)} (${why}): ${named}${more}`);
}

/** The most files and directories that one command's scopes may stand for: each is a descriptor and a mount. */
export const maxOpenScopes = 512;

/** Opens one more path for a resolution, which closes it in the end. `at`: as for `openResolved`. */
export function openFor(resolution: Resolution, source: string, writable: boolean, at?: string): OpenScope {
  if (resolution.descriptors.size >= maxOpenScopes) {
    throw new CscError(
      'NOT_PERMITTED',
      `more than ${maxOpenScopes} paths are declared; declare trees (…/**) instead`,
    );
  }
  const path = openResolved(source, at);
  resolution.descriptors.add(path.fd);
  return { ...path, writable };
}

/** Closes what turned out to be of no use. */
export function closeFor({ descriptors }: Resolution, { fd }: OpenScope): void {
  if (descriptors.delete(fd)) closeSync(fd);
}
