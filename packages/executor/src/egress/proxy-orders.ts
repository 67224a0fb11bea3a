import type { EgressEntry } from './allow-list.ts';

/** What the executor tells a proxy of its own, once, at its start: JSON in a file that the proxy finds open. */
export interface ProxyOrders {
  /** Each must allow what is to be let through. */
  readonly lists: readonly (readonly EgressEntry[])[];
  /** Sockets that listen in the network of the command's sandboxes, by their descriptors there. */
  readonly listeners: readonly number[];
  /** What takes its last rights away, once it has all that it needs; null: there is none for this machine. */
  readonly confine: string | null;
}

/**
 * A proxy's descriptors, beyond all that bwrap is given: Node and native/confine, which lie in directories that may be
 * closed to it; where the latter finds its filter; its orders; the first socket.
 */
export const numbers = { node: 92, module: 93, filter: 94, orders: 95, listeners: 96 } as const;
