import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@csc-fleet/common/encoding';
import { silentLog } from '@csc-fleet/common/service';
import { expect, it, onTestFinished } from 'vitest';
import type { MetLog } from '../journal/index.ts';
import { LogWatch } from './watch.ts';

it('a gate that never proves anything keeps no host from ending, whose journal is not touched then', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'csc-log-watch-'));
  onTestFinished(() => rmSync(stateDir, { recursive: true }));
  const due = { executionId: 'e', receiptSha256: 'a'.repeat(64), acknowledgedAt: new Date(0) };
  const met: MetLog[] = [];
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<undefined>();
  const watch = new LogWatch({
    journal: {
      unproven: () => [due],
      seenLog: () => undefined,
      metLog: async (it) => met.push(it),
    },
    named: () => ({
      vkey: 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k',
      witnessVkeys: [],
      quorum: 0,
    }),
    ask: () => {
      asked.resolve();
      return answer.promise;
    },
    connectedMs: () => 0,
    stateDir,
    clock: systemClock,
    log: silentLog,
  });
  const round = watch.round();
  await asked.promise;
  let isClosed = false;
  void watch.close().then(() => {
    isClosed = true;
  });
  await expect.poll(() => isClosed, { timeout: 10_000 }).toBe(true);
  answer.resolve(undefined);
  await round;
  expect(met).toEqual([]);
});
