// A log of receipts with no gate around it.
import { sha256Hex } from '@csc-fleet/common/encoding';
import { AuditRecord } from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import { logSigner } from '@csc-fleet/test-kit/gate/logged-gate';
import { logOrigin } from '@csc-fleet/test-kit/gate/test-gate';
import { ReceiptLog } from '../../../packages/gate/src/log/receipt-log.ts';
import type { AuditRow } from '../../../packages/gate/src/store/tables.ts';

const ofNobody = { execution_id: null, principal: null, executor_id: null, policy_profile: null };

/** A log over audit records alone, one for each receipt, of which it is given so many at a time. */
export function logOf(directory: string, errors: unknown[] = [], window = Number.POSITIVE_INFINITY) {
  const rows: AuditRow[] = [];
  const written = new Signal();
  const store = {
    audited: (abort: AbortSignal) => written.wait(abort),
    auditLast: async () => rows.length,
    skipAudit: async () => undefined,
    auditAfter: async (after: number) => {
      const found = rows.slice(after, after + window);
      return {
        rows: found,
        lookedUpTo: after + found.length,
        isEnd: after + found.length >= rows.length,
      };
    },
  };
  const ports = { store, signer: logSigner, origin: logOrigin, directory };
  return {
    open: () => ReceiptLog.open({ ...ports, onError: (error) => void errors.push(error) }),
    accept: (count: number, kind = 'execution.ended'): number => {
      for (let at = 0; at < count; at += 1) {
        const sequence = rows.length + 1;
        const said = { executionId: `exec_${sequence}`, receiptSha256: sha256Hex(String(sequence)) };
        const record = Buffer.from(AuditRecord.encode(AuditRecord.create(said)).finish());
        rows.push({ ...ofNobody, at: '', outcome: '', sequence, kind, record });
      }
      written.ring();
      return rows.length;
    },
  };
}
