import { CscError } from '@csc-fleet/common/errors';
import { type OpenPath, openResolved } from '../host/index.ts';
import type { RunFacts } from './facts.ts';
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

/** What a request resolved to so far, and the descriptors that are open for it. */
export interface Resolution {
  readonly request: ScopeRequest;
  readonly facts: RunFacts;
  readonly descriptors: Set<number>;
  readonly links: Map<string, ScopeLink>;
  /** Write paths that are still to be made, as declared, and where: outermost first. */
  readonly missing: Map<string, string>;
  readonly notes: string[];
}

/** One scope, open, free of symlinks, and inside the policy's prefixes. */
export interface OpenScope extends OpenPath {
  readonly writable: boolean;
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
