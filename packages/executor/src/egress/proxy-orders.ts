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

/** The proxy's numbers of its orders and of the first socket: beyond all that bwrap is given. */
export const ordersNumber = 95;
export const firstListener = 96;
