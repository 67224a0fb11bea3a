import { randomBytes } from 'node:crypto';
import { startFleet } from '@csc-fleet/test-kit/fleet';
import { callsPerSecond, startBareServer } from './bare.ts';
import { type Row, toRow } from './report.ts';

const inFlight = 64;
const seconds = 5;
const contractBytes = 1200;

/** `Check` with a signed decision, against a bare unary echo of the same size. */
export async function measure(): Promise<Row[]> {
  await using bare = await startBareServer();
  await using fleet = await startFleet({ executors: [] });
  const client = fleet.connect();
  const contract = fleet.contract({ argv: ['git', 'status'] });
  const padding = contractBytes - JSON.stringify(contract).length;
  if (padding > 0) contract.justification += randomBytes(padding).toString('hex').slice(0, padding);
  const message = Buffer.from(JSON.stringify(contract));

  const check = (): Promise<unknown> => client.check(contract);
  const echo = (): Promise<unknown> => bare.echo(message);
  await callsPerSecond(echo, inFlight, 1);
  const baseline = await callsPerSecond(echo, inFlight, seconds);
  await callsPerSecond(check, inFlight, 1);
  const ours = await callsPerSecond(check, inFlight, seconds);
  return [toRow('decisions', `Check, ${inFlight} in flight`, ours, baseline, 'calls/s', { min: 0.4 })];
}
