import { createInterface } from 'node:readline';
import { loadMain } from './load-main.ts';

// Many command lines in one process, as each costs a start: they come as JSON lines on stdin, and what they say goes
// where it always goes.
const lines: string[] = [];
for await (const line of createInterface({ input: process.stdin })) lines.push(line);
const main = await loadMain();
for (const line of lines) await main(JSON.parse(line) as string[]);
process.exit(0);
