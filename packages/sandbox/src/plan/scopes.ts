import type { ScopeClaims } from './scope-claims.ts';

/** What a command may see, as its contract and policy say it. */
export interface ScopeRequest {
  readonly cwd: string;
  readonly readPaths: readonly string[];
  readonly writePaths: readonly string[];
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
  /** In mounting order. Nothing is below a writable one. */
  readonly binds: readonly ScopeBind[];
  /** Empty directories that the view needs beside the binds, such as a cwd that no scope shows. */
  readonly directories: readonly string[];
  /** Symlinks on the way to a declared path that no bind shows. */
  readonly links: readonly ScopeLink[];
  /** The working directory inside the sandbox. */
  readonly cwd: string;
  /** For people: what was dropped, is missing or was expanded, and why. */
  readonly notes: readonly string[];
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
