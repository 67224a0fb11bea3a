import { randomUUID } from 'node:crypto';
import type { Signer } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { signArtifact } from '@csc-fleet/common/evidence';
import type { GrantedLimits } from '@csc-fleet/common/limits';
import type { ReceiptVersion } from '@csc-fleet/common/receipt';
import { maxTicketLifeMs, type UnsignedTicket } from '@csc-fleet/common/ticket';
import type { ExecutionRow } from '../store/tables.ts';

export interface MintedTicket {
  readonly ticketId: string;
  /** Canonical JSON. */
  readonly json: Buffer;
}

export interface TicketOptions {
  readonly gateId: string;
  /** The one executor that may redeem it. */
  readonly audience: string;
  readonly approvalIds: readonly string[];
  readonly limits: GrantedLimits;
  readonly now: Date;
  /** From not_before to expires_at; at most a minute. */
  readonly lifeMs: number;
}

/** A signed ticket for one execution on one executor. */
export function mintTicket(row: ExecutionRow, options: TicketOptions, signer: Signer): MintedTicket {
  const { gateId, audience, approvalIds, limits, now, lifeMs } = options;
  const ticket: UnsignedTicket = {
    ticket_version: 'csc.ticket.v0.1',
    ticket_id: randomUUID(),
    issuer: gateId,
    audience,
    execution_id: row.execution_id,
    contract_sha256: row.contract_sha256,
    policy_sha256: row.policy_sha256,
    policy_profile: row.policy_profile,
    principal: row.principal,
    approval_ids: [...new Set(approvalIds)],
    grant: { receipt_version: row.receipt_version as ReceiptVersion, limits },
    not_before: toTimestamp(now),
    expires_at: toTimestamp(new Date(now.getTime() + Math.min(lifeMs, maxTicketLifeMs))),
  };
  return { ticketId: ticket.ticket_id, json: signArtifact(ticket, signer, now) };
}
