import { posix } from 'node:path';
import { lookOnHost, walkPath } from '../host/index.ts';
import type { KeptPlace } from './facts.ts';

/** How one comes to a place that csc believes. */
export interface WayToKept extends Pick<KeptPlace, 'name'> {
  /** Free of symlinks. */
  readonly place: string;
  /** The symlinks on the way: whoever may write above one can lead it elsewhere. */
  readonly links: readonly string[];
}

/** Where that is now, or would be once all that is missing on the way is made: a job could make it. */
export function findWayToKept({ path, name }: KeptPlace): WayToKept {
  const whole = posix.resolve(path);
  const walk = walkPath(whole, (at) => lookOnHost(at) ?? {});
  return { name, place: walk?.path ?? whole, links: walk?.links.map((link) => link.path) ?? [] };
}
