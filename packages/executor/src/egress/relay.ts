import type { Socket } from 'node:net';

/**
 * Joins two connections: what comes from the one goes to the other, no faster than it takes it, and each direction ends
 * by itself. Where one breaks off, so does the other; with `idleMs` of silence both do.
 * @param first what the client has sent already
 */
export function relay(client: Socket, upstream: Socket, first: Buffer, idleMs: number): void {
  upstream.write(first);
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.setTimeout(idleMs, () => {
      // One that only sends, or only receives, is silent on neither side for long.
      from.destroy();
      to.destroy();
    });
    from.once('close', () => closeAfter(from, to));
    from.pipe(to);
  }
  if (client.destroyed) upstream.destroy();
  if (upstream.destroyed) client.destroy();
}

// What was read to its end is delivered to its end.
function closeAfter(closed: Socket, other: Socket): void {
  if (closed.readableEnded) other.destroySoon();
  else other.destroy();
}
