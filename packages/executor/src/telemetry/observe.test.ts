import type { Refused } from '@csc-fleet/common/messages';
import { createShownMetrics } from '@csc-fleet/common/prometheus';
import { describe, expect, it } from 'vitest';
import type { ExecutionLink } from '../execute.ts';
import { createExecutorTelemetry, observeExecutor } from './observe.ts';

const refused = (reason: string, receipt = ''): Refused => ({
  executionId: 'x',
  reason,
  message: '',
  receiptJson: Buffer.from(receipt),
  originalJson: Buffer.alloc(0),
  lasting: false,
});

function fakeLink(said: string[]): ExecutionLink {
  return {
    checkRoom: () => undefined,
    checkWanted: () => undefined,
    refused: ({ reason }) => said.push(reason),
    accepted: () => undefined,
    commandStarted: () => undefined,
    commandExited: () => undefined,
    finished: () => said.push('finished'),
  };
}

describe('what an executor tells', () => {
  it('counts what comes of offers by the reasons of the table, and passes it on', async () => {
    const shown = createShownMetrics('test', '0');
    const said: string[] = [];
    const link = createExecutorTelemetry(shown.meter).counting(fakeLink(said));
    link.refused(refused('SPOOL_FULL'));
    link.refused(refused('NOT_PERMITTED', '{}'));
    link.refused(refused('as a gate might have it'));
    expect(said).toEqual(['SPOOL_FULL', 'NOT_PERMITTED', 'as a gate might have it']);
    const lines = (await shown.text())
      .split('\n')
      .filter((line) => line.startsWith('csc_executor_runs_total'));
    expect(lines).toEqual([
      'csc_executor_runs_total{outcome="refused",reason="SPOOL_FULL"} 1',
      'csc_executor_runs_total{outcome="blocked",reason="NOT_PERMITTED"} 1',
      'csc_executor_runs_total{outcome="refused",reason="other"} 1',
    ]);
  });

  it('says what it is asked for, and a gauge that fails costs no other', async () => {
    const shown = createShownMetrics('test', '0');
    observeExecutor(createExecutorTelemetry(shown.meter), {
      slots: 3,
      executor: { running: 1, clockAheadMs: 1500 },
      outbox: { isOpen: false, timesOpened: 2, waitingBytes: 10 },
      deliveries: { owed: { count: 4, bytes: 400, oldestMs: 5000 } },
      spools: { takenBytes: 7, limitBytes: 70 },
      reserve: {
        get reservedBytes(): number {
          throw new Error('the disk is gone');
        },
        shortage: 'full',
      },
      wouldRefuse: () => 0,
      logWatch: { found: { unproven: 6, missing: 2, isFalse: true } },
      untaken: { count: 3 },
      isRevoked: () => true,
    });
    const text = await shown.text();
    expect(text).toContain('csc_executor_link_up 0\n');
    expect(text).toContain('csc_executor_receipt_oldest_seconds 5\n');
    expect(text).toContain('csc_executor_clock_skew_seconds 1.5\n');
    expect(text).toContain('csc_executor_disk_short 1\n');
    expect(text).toContain('csc_executor_receipts_untaken 3\n');
    expect(text).toContain('csc_executor_receipts_unproven 6\n');
    expect(text).toContain('csc_executor_receipts_missing 2\n');
    expect(text).toContain('csc_executor_log_false 1\n');
    expect(text).toContain('csc_executor_revoked 1\n');
    expect(text).not.toMatch(/^csc_executor_reserve_bytes/m);
  });
});
