import { randomUUID } from 'node:crypto';
import { Verdict } from '@csc-fleet/common/messages';
import { startFleet } from '@csc-fleet/test-kit/fleet';
import { callsPerSecond, startBareServer } from './bare.ts';
import { type Row, toRow } from './report.ts';
import { interleave, scaled } from './rounds.ts';

const inFlight = 64;
const rounds = 5;
const seconds = 2;
const contractBytes = 1200;

/** `Check` of contracts that are all different, with a signed decision, against a bare unary echo of the same size. */
export async function measure(): Promise<Row[]> {
  await using bare = await startBareServer();
  await using fleet = await startFleet({ executors: [] });
  const client = fleet.connect();
  const contract = fleet.contract({ argv: ['git', 'status'] });
  contract.justification = contract.justification.padEnd(
    contractBytes - JSON.stringify(contract).length + contract.justification.length,
    'as long as others ',
  );
  const message = Buffer.from(JSON.stringify(contract));
  const check = async (): Promise<void> => {
    const decision = await client.check({ ...contract, contract_id: `test-${randomUUID()}` });
    if (decision.verdict !== Verdict.ALLOW) throw new Error(`the decision is ${decision.verdict}`);
  };
  const { ours, bare: echoes } = await interleave(scaled(rounds), {
    ours: () => callsPerSecond(check, inFlight, scaled(seconds)),
    bare: () => callsPerSecond(() => bare.echo(message), inFlight, scaled(seconds)),
  });
  return [toRow('decisions', `Check, ${inFlight} in flight`, ours, echoes, 'calls/s', { min: 0.6 })];
}
