// What runs in the process of a proxy. `make generate` makes one text of it (proxy-program.ts), as it runs where it can
// see none of this program's files.
import { fstatSync, readSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { toAllowList } from './allow-list.ts';
import { createEgressProxy } from './proxy.ts';
import { numbers, type ProxyOrders } from './proxy-orders.ts';
import type { ProxyWord } from './proxy-words.ts';

// Whole, and before anything else happens: what was let through has been said by the time that a byte of it goes out,
// and the pipe keeps it whatever becomes of this process.
function say(word: ProxyWord): void {
  const line = Buffer.from(`${JSON.stringify(word)}\n`);
  for (let at = 0; at < line.length; ) at += writeSync(1, line, at);
}

const { lists, listeners, confine }: ProxyOrders = readOrders();
const proxy = createEgressProxy({
  allow: toAllowList(lists),
  onVerdict: ({ host, port, reason }) => say({ host, port, ...(reason === undefined ? {} : { reason }) }),
  onFault: (error) => say({ fault: describeFault(error) }),
});
// Nothing of a job has been read by now.
if (confine !== null) process.dlopen({ exports: {} }, confine);
let waiting = listeners.length;
for (const fd of listeners) {
  const server = createServer();
  proxy.serve(server);
  server.listen({ fd }, () => {
    waiting -= 1;
    if (waiting === 0) say({ ready: true });
  });
}

// By the descriptor itself: it is a file of the executor's, which this user could not open.
function readOrders(): ProxyOrders {
  const text = Buffer.alloc(fstatSync(numbers.orders).size);
  for (let at = 0; at < text.length; ) at += readSync(numbers.orders, text, at, text.length - at, at);
  return JSON.parse(text.toString('utf8'));
}

// Enough to find the place in the program; what a job had a hand in stays short.
function describeFault(error: unknown): string {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return text.slice(0, 1000).replace(/[^\n\x20-\x7e]/g, '?');
}
