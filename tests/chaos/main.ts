// make chaos: a storm of faults over a real fleet, as long as it is told, whose books are audited from outside.
import { randomBytes } from 'node:crypto';
import { runStorm, table } from './storm/storm.ts';

const seconds = Number(process.env['CSC_CHAOS_SECONDS'] ?? 600);
const seed = process.env['CSC_CHAOS_SEED'] ?? randomBytes(4).toString('hex');
const only = process.env['ONLY']?.split(',');
const hasLauncher = process.env['CSC_CHAOS_LAUNCHER'] !== 'none';
const mebibyte = 1024 * 1024;

console.log(
  `seed ${seed}, ${seconds} s: CSC_CHAOS_SEED=${seed} CSC_CHAOS_SECONDS=${seconds} make chaos repeats it${hasLauncher ? '' : ' with CSC_CHAOS_LAUNCHER=none'}`,
);
const report = await runStorm({
  seed,
  seconds,
  ...(only === undefined ? {} : { only }),
  width: 4,
  slots: 4,
  hasLauncher,
  diskBytes: 256 * mebibyte + Math.round(seconds) * mebibyte,
  gapSec: 2.5,
  restSec: Number(process.env['CSC_CHAOS_REST'] ?? 180),
  evidence: `out/chaos-${seed}`,
  tell: (line) => console.log(line),
});
const { calls, keys, starts, receipts, visits, artifacts, errors, endings, wrong, struck } = report;
const { logged, checkpoints } = report;
console.log(
  `\nseed ${seed}: ${struck.filter(({ missed }) => !missed).length} faults in ${seconds} s; ${keys} contracts in ${calls} calls, ${starts} starts, ${receipts} receipts of hosts; ${visits} answers over proxies, ${artifacts} artifacts hashed; ${logged} receipts in the log, ${checkpoints} of its checkpoints met`,
);
console.log('how they ended:', endings);
console.log('errors that calls ended with, each with its key and made again:', errors);
console.log(`\n${table(report)}\n`);
for (const { what, key } of wrong) console.log(`WRONG ${key ?? ''} ${what}`);
console.log(wrong.length === 0 ? 'nothing was lost' : `${wrong.length} things are wrong`);
process.exitCode = wrong.length === 0 ? 0 : 1;
