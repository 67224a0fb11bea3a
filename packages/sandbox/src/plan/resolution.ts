import { CscError } from '@csc-fleet/common/errors';
import { type OpenPath, openResolved } from '../host/index.ts';
import type { RunFacts } from './facts.ts';
import type { ScopeLink, ScopeRequest } from './scopes.ts';

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
