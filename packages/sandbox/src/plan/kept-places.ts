import { posix } from 'node:path';
import { type Look, lookOnHost, walkPath } from '../host/index.ts';
import type { KeptPlace } from './facts.ts';

/** How one comes to a place that csc believes. */
export interface WayToKept extends Pick<KeptPlace, 'name'> {
  /** Free of symlinks. */
  readonly place: string;
  /** The symlinks on the way: whoever may write above one can lead it elsewhere. */
  readonly links: readonly string[];
}

/**
 * Where these are now, or would be once all that is missing on the way is made: a job could make it. Most lie in the same few
 * directories, each of which is looked at once.
 */
export function findWaysToKept(kept: readonly KeptPlace[]): WayToKept[] {
  const known = new Map<string, NonNullable<ReturnType<Look>>>();
  const look: Look = (at) => {
    const found = known.get(at) ?? lookOnHost(at) ?? {};
    known.set(at, found);
    return found;
  };
  return kept.map(({ path, name }) => {
    const whole = posix.resolve(path);
    const walk = walkPath(whole, look);
    return { name, place: walk?.path ?? whole, links: walk?.links.map((link) => link.path) ?? [] };
  });
}
