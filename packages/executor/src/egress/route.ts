import { familyOf } from './addresses.ts';
import type { AllowList } from './allow-list.ts';
import { type Refusal, refuse, refuseAddress } from './refusal.ts';
import type { Resolve } from './resolve.ts';

/** A host that may be asked for, and the addresses that were checked: only they are ever dialled for it. */
export interface Route {
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly [string, ...string[]];
  /** A ClientHello for it may be encrypted. */
  readonly ech: boolean;
}

/** A route, or why there is none. */
export type RouteResult =
  | { readonly ok: true; readonly route: Route }
  | { readonly ok: false; readonly refusal: Refusal };

/**
 * The judgement of one request. The lists are asked before the name is resolved, so that a refused name is not even asked
 * for (a query can carry data); it is resolved once, and every address must do: one that must not be reached makes the
 * name suspect, whichever would be dialled (DNS rebinding).
 * @param host as `parseHostName` gives it
 */
export async function findRoute(
  { host, port }: { readonly host: string; readonly port: number },
  { allow, resolve }: { readonly allow: AllowList; readonly resolve: Resolve },
): Promise<RouteResult> {
  if (!allow.allows(host, port)) return { ok: false, refusal: refuse('not_listed') };
  const [first, ...rest] = (await resolve(host)).filter((address) => familyOf(address) !== undefined);
  if (first === undefined) return { ok: false, refusal: refuse('unresolvable') };
  for (const address of [first, ...rest]) {
    const problem = allow.findAddressProblem(host, address);
    if (problem !== undefined) return { ok: false, refusal: refuseAddress(problem) };
  }
  return { ok: true, route: { host, port, addresses: [first, ...rest], ech: allow.allowsEch(host, port) } };
}
