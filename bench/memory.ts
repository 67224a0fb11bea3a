import { startFleet } from '@csc-fleet/test-kit/fleet';
import { readProcess } from './processes.ts';
import { type Row, toRow } from './report.ts';
import { scaled, watched } from './rounds.ts';

const clients = 8;
const mebibyte = 1024 * 1024;

// What the runs after the first tenth may take: a slow machine makes fewer, and the row says how many.
const longestSec = 150;

/** What gate and executor hold after many runs, against after a tenth of them. */
export async function measure(): Promise<Row[]> {
  const few = Math.ceil(scaled(10_000) / 10);
  await using fleet = await startFleet({ executors: [{ name: 'bench', config: { slots: clients } }] });
  const client = fleet.connect();
  const contract = fleet.contract({ argv: ['true'] });
  const processes = { gate: fleet.gate.child.pid, executor: fleet.executor('bench').child.pid };
  let done = 0;
  const runUpTo = async (
    count: number,
    until = Number.POSITIVE_INFINITY,
  ): Promise<Record<keyof typeof processes, number>> => {
    const go = async (): Promise<void> => {
      while (done < count && performance.now() < until) {
        done += 1;
        await client.run(contract);
      }
    };
    await Promise.all(Array.from({ length: clients }, go));
    const { gate, executor } = processes;
    return {
      gate: readProcess(gate).residentBytes / mebibyte,
      executor: readProcess(executor).residentBytes / mebibyte,
    };
  };
  const first = await runUpTo(1);
  const tenth = await runUpTo(few);
  const all = await watched(() => runUpTo(10 * few, performance.now() + 1000 * longestSec));
  return (['gate', 'executor'] as const).flatMap((which) => [
    toRow('memory', `${which} after ${few} runs, against after 1`, tenth[which], first[which], 'MiB'),
    toRow('memory', `${which} after ${done} runs, against after ${few}`, all[which], tenth[which], 'MiB', {
      max: 1.1,
    }),
  ]);
}
