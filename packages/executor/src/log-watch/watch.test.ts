import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '@csc-fleet/common/encoding';
import type { ProveOwnReceiptsResponse } from '@csc-fleet/common/messages';
import { silentLog } from '@csc-fleet/common/service';
import { expect, it, onTestFinished } from 'vitest';
import type { MetLog } from '../journal/index.ts';
import type { AskProofs } from './ask.ts';
import { LogWatch } from './watch.ts';

const due = { executionId: 'e', receiptSha256: 'a'.repeat(64), acknowledgedAt: new Date(0) };

/** One that looks for this receipt, as often as it is told to. */
function watchOf(ask: AskProofs, met: MetLog[] = []): LogWatch {
  const stateDir = mkdtempSync(join(tmpdir(), 'csc-log-watch-'));
  onTestFinished(() => rmSync(stateDir, { recursive: true }));
  return new LogWatch({
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
    ask,
    connectedMs: () => 0,
    stateDir,
    clock: systemClock,
    log: silentLog,
  });
}

it('a gate that never proves anything keeps no host from ending, whose journal is not touched then', async () => {
  const met: MetLog[] = [];
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<undefined>();
  const ask = () => {
    asked.resolve();
    return answer.promise;
  };
  const watch = watchOf(ask, met);
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

it('what a gate answers is forgotten with the round', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  const answers: WeakRef<Buffer>[] = [];
  const watch = watchOf(async () => {
    const checkpoint = Buffer.alloc(256 * 1024);
    answers.push(new WeakRef(checkpoint));
    return { checkpoint, proofs: [] } as unknown as ProveOwnReceiptsResponse;
  });
  for (let round = 0; round < 8; round += 1) await watch.round();
  // A reference that was looked at lives until the turn is over.
  await setImmediate();
  collect();
  expect(answers).toHaveLength(8);
  expect(answers.filter((it) => it.deref() !== undefined).length).toBeLessThan(3);
  await watch.close();
});
