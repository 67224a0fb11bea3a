// Readers that hold others up if they can, in a process of their own: one takes 1 MiB a second, eight take one chunk and
// never another. Reads whose output it is as JSON from its first argument, prints a line once all of them read.
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@csc-fleet/client';

/** Whose output is read, and by whom. */
export interface SlowTask {
  readonly address: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly executionId: string;
}

const mib = 2 ** 20;
const { address, tls, executionId }: SlowTask = JSON.parse(process.argv[2] ?? '');

// A connection each: readers on one would wait for each other.
const open = () => connect({ address, tls }).readOutput(executionId);

const never = Array.from({ length: 8 }, open);
const slow = open();
await Promise.all([slow, ...never].map((it) => it.next()));
process.stdout.write('reading\n');
let taken = 0;
const begin = performance.now();
for await (const item of slow) {
  if (item.type === 'chunk') taken += item.data.length;
  await sleep(Math.max(0, (taken / mib) * 1000 - (performance.now() - begin)));
}
