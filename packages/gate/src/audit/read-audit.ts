import { setImmediate as turn } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';
import { parseIdentity, toIdentityUri } from '@csc-fleet/common/identity';
import { AuditRecord, type AuditRequest, type AuditResponse } from '@csc-fleet/common/messages';
import { auditBounds, checkBounds, requestInvalid } from '../bounds/index.ts';
import { executorName } from '../execution/row.ts';
import type { AuditQuery } from '../store/audit-store.ts';
import type { Store } from '../store/store.ts';
import type { AuditRow } from '../store/tables.ts';

export interface AuditPorts {
  readonly store: Pick<Store, 'auditAfter' | 'auditBefore' | 'auditLast' | 'audited'>;
  /** The gate's SPIFFE id. */
  readonly identity: string;
  readonly trustDomain: string;
}

/**
 * Gives what was written down, in order, each once, from any number on; with `follow`, what comes as well, once it is on
 * disk. What is read is the store's, so that a reader that comes back, or a gate, goes on where it stood. Throws
 * AUDIT_TRIMMED, REQUEST_INVALID, STORE_UNAVAILABLE.
 */
export async function readAudit(
  { store, identity, trustDomain }: AuditPorts,
  request: AuditRequest,
  write: (response: AuditResponse) => Promise<void>,
  gone: AbortSignal,
): Promise<void> {
  checkBounds(auditBounds, request);
  const query = toQuery(request, trustDomain);
  let at = await firstOf(store, request, query);
  while (!gone.aborted) {
    const over = new AbortController();
    // Before it is looked: what is written while that lasts rings, too.
    const more = store.audited(AbortSignal.any([gone, over.signal]));
    const { rows, lookedUpTo, isEnd } = await store.auditAfter(at, query);
    for (const row of rows) {
      if (gone.aborted) break;
      await write({ record: toRecord(row, identity), lookedUpTo: row.sequence });
    }
    if (lookedUpTo > (rows.at(-1)?.sequence ?? at)) await write({ record: undefined, lookedUpTo });
    at = lookedUpTo;
    if (isEnd && !request.follow) return over.abort();
    if (!isEnd) over.abort();
    await more;
    // A gate has others to answer.
    await turn();
  }
}

async function firstOf(
  store: AuditPorts['store'],
  { fromSequence }: AuditRequest,
  { since }: AuditQuery,
): Promise<number> {
  const kept = await store.auditBefore();
  const asked = Math.max(0, fromSequence - 1);
  if (fromSequence > 0 && asked < kept) {
    const message = `the records from ${fromSequence} to ${kept} are not kept any more: begin with ${kept + 1}`;
    throw new CscError('AUDIT_TRIMMED', message);
  }
  const last = await store.auditLast();
  if (asked > last)
    throw requestInvalid(
      'from_sequence',
      `is beyond the end: the newest record is ${last}, and the next will be ${last + 1}`,
    );
  const from = since === undefined ? kept : await store.auditBefore(since);
  return Math.max(asked, from);
}

function toQuery(
  { principal, executorId, policyProfile, outcome, since, until }: AuditRequest,
  trustDomain: string,
): AuditQuery {
  return {
    ...(principal === '' ? {} : { principal: toPrincipal(principal, trustDomain) }),
    ...(executorId === '' ? {} : { executor_id: executorName(executorId) }),
    ...(policyProfile === '' ? {} : { policy_profile: policyProfile }),
    ...(outcome === '' ? {} : { outcome }),
    ...(since === undefined ? {} : { since: since.toISOString() }),
    ...(until === undefined ? {} : { until: until.toISOString() }),
  };
}

// Whatever else was asked for is nobody's, which looks like somebody who has done nothing.
function toPrincipal(asked: string, trustDomain: string): string {
  const uri = asked.includes('/') ? asked : toIdentityUri(trustDomain, 'client', asked);
  if (parseIdentity(uri) !== undefined) return uri;
  throw requestInvalid(
    'principal',
    `must be a SPIFFE id, spiffe://DOMAIN/client/NAME, or the NAME of a client of ${trustDomain}`,
  );
}

// What nobody else has done is the gate's.
function toRecord({ sequence, record }: AuditRow, identity: string): AuditRecord {
  const decoded = AuditRecord.decode(record);
  return { ...decoded, actor: decoded.actor === '' ? identity : decoded.actor, sequence };
}
