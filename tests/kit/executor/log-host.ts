// A host that looks for its own receipts in the log of its gate.
import { join } from 'node:path';
import { sha256Hex } from '@csc-fleet/common/encoding';
import type { OwnersLog } from '@csc-fleet/common/owners';
import { emptyDirectory, type Stage, vkey } from '@csc-fleet/test-kit/gate/logged-gate';
import { agent } from '@csc-fleet/test-kit/gate/test-gate';
import { onTestFinished } from 'vitest';
import { openSqliteJournal } from '../../../packages/executor/src/journal/index.ts';
import { type AskProofs, LogWatch } from '../../../packages/executor/src/log-watch/index.ts';

/** A host that a gate has acknowledged receipts of, and that asks it for their proofs. */
export async function host(ask: AskProofs, stateDir = emptyDirectory(), startedAt = new Date()) {
  let now = startedAt;
  let connectedMs = 0;
  const clock = { now: () => now };
  const journal = openSqliteJournal(join(stateDir, 'journal.sqlite'), { clock });
  onTestFinished(() => journal.close());
  const lines: string[] = [];
  const write = (level: string) => (fields: object, text: string) =>
    void lines.push(`${level} ${text} ${JSON.stringify(fields)}`);
  const log = { info: write('info'), warn: write('warn'), error: write('error') };
  let said: OwnersLog | undefined = { vkey, witnessVkeys: [], quorum: 0 };
  const open = () =>
    new LogWatch({ journal, named: () => said, ask, connectedMs: () => connectedMs, stateDir, clock, log });
  return {
    journal,
    lines,
    stateDir,
    open,
    watch: open(),
    names: (log: OwnersLog | undefined) => {
      said = log;
    },
    passes: (minutes: number, gate: 'there' | 'away' = 'there') => {
      now = new Date(now.getTime() + minutes * 60_000);
      if (gate === 'there') connectedMs += minutes * 60_000;
    },
    /** The receipt that this gate has of an execution was this host's, and is acknowledged. */
    async owed({ test }: Stage, executionId: string, signed?: Buffer): Promise<void> {
      const receiptJson = signed ?? (await test.as(agent).getReceipt({ executionId })).receiptJson;
      const times = { notBefore: now, expiresAt: new Date(now.getTime() + 60_000), redeemedAt: now };
      const use = { ticketId: executionId, executionId, draft: '{}', bare: '{}', approvals: [] };
      await journal.redeem({ ...use, ...times });
      const sealed = { receiptJson, receiptSha256: sha256Hex(receiptJson), outputLogLength: 0 };
      await journal.finish(executionId, () => sealed);
      // So that the commit of the one does not wait for others.
      await Promise.all([journal.acknowledge(executionId, true), journal.progress('', '')]);
    },
  };
}

const executorOf = (name: string) => ({
  name,
  role: 'executor' as const,
  trustDomain: 'csc.local',
  uri: `spiffe://csc.local/executor/${name}`,
});

/** As the gate answers this executor, where it does not lie. */
export const truth =
  ({ test }: Stage, name = 'e1'): AskProofs =>
  (request) =>
    test.gate.receipts.prove(executorOf(name), request);
