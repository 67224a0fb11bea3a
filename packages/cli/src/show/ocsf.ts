import type { AuditRecord, TokenName } from '@csc-fleet/common/messages';
import { version } from '@csc-fleet/common/version';

/** The version of the Open Cybersecurity Schema Framework (https://schema.ocsf.io/1.6.0) whose names are used. */
const ocsfVersion = '1.6.0';

// API Activity, of the category Application Activity: calls of an API that create and change executions and policies.
// Process Activity (1007) asks for what this system never tells: command lines.
const apiActivity = {
  category_uid: 6,
  category_name: 'Application Activity',
  class_uid: 6003,
  class_name: 'API Activity',
};

const create = { activity_id: 1, activity_name: 'Create' };
const update = { activity_id: 3, activity_name: 'Update' };

const success = { status_id: 1, status: 'Success' };
const failure = { status_id: 2, status: 'Failure' };
const undecided = { status_id: 99, status: 'Other' };

const statuses: Readonly<Record<string, typeof success>> = {
  allow: success,
  approve: success,
  running: success,
  succeeded: success,
  in_force: success,
  deny: failure,
  reject: failure,
  failed: failure,
  blocked: failure,
  expired: failure,
  cancelled: failure,
  lost: failure,
};

const informational = { severity_id: 1, severity: 'Informational' };
const low = { severity_id: 2, severity: 'Low' };
const high = { severity_id: 4, severity: 'High' };

function severityOf({ kind, outcome }: AuditRecord): typeof informational {
  if (outcome === 'frozen' || outcome === 'revoked' || outcome === 'break_glass') return high;
  return outcome === 'deny' ||
    outcome === 'blocked' ||
    kind === 'execution.lost' ||
    kind === 'execution.resolved'
    ? low
    : informational;
}

/** An audit record as OCSF says it; docs/audit.md has what stands where. */
export function toOcsf(record: AuditRecord): object {
  const activity = record.kind === 'submission.decided' ? create : update;
  const status = statuses[record.outcome] ?? undecided;
  const time = record.at?.getTime() ?? 0;
  return {
    ...apiActivity,
    ...activity,
    type_uid: apiActivity.class_uid * 100 + activity.activity_id,
    type_name: `API Activity: ${activity.activity_name}`,
    time,
    ...severityOf(record),
    ...status,
    status_detail: record.outcome,
    ...(record.message === '' ? {} : { message: record.message }),
    metadata: {
      version: ocsfVersion,
      product: { name: 'CSC Fleet', vendor_name: 'CSC Fleet', version },
      event_code: record.kind,
      log_name: 'csc.audit',
      sequence: record.sequence,
      uid: String(record.sequence),
      ...(record.executionId === '' ? {} : { correlation_uid: record.executionId }),
    },
    actor: toActor(record),
    api: { operation: record.kind, service: { name: 'csc.gate.v1' } },
    src_endpoint: { name: record.actor === '' ? 'gate' : record.actor },
    ...(record.executorId === ''
      ? {}
      : { dst_endpoint: { name: record.executorId, type: 'Server', type_id: 1 } }),
    resources: toResources(record),
    unmapped: toUnmapped(record),
  };
}

function toActor({ actor, policyProfile, policySha256, outcome }: AuditRecord): object {
  const user = {
    name: actor === '' ? 'gate' : actor.slice(actor.lastIndexOf('/') + 1),
    uid: actor === '' ? 'gate' : actor,
  };
  if (policyProfile === '') return { user };
  const policy = { name: policyProfile, uid: policySha256 };
  return { user, authorizations: [{ policy, decision: outcome }] };
}

function toResources({ executionId, contractId, contractSha256, policies }: AuditRecord): object[] {
  const execution =
    executionId === ''
      ? []
      : [
          { type: 'csc.execution', uid: executionId },
          { type: 'csc.contract', name: contractId, uid: contractSha256 },
        ];
  return [...execution, ...policies.map(({ name, sha256 }) => ({ type: 'csc.policy', name, uid: sha256 }))];
}

// What OCSF has no name for, under the names of this system.
function toUnmapped(record: AuditRecord): object {
  const { principal, approvers, receiptSha256, exitCode, traceId, policyVersion, token } = record;
  return {
    ...(principal === '' ? {} : { principal }),
    ...(approvers.length === 0 ? {} : { approvers }),
    ...(receiptSha256 === '' ? {} : { receipt_sha256: receiptSha256 }),
    ...(exitCode === undefined ? {} : { exit_code: exitCode }),
    ...(token === undefined ? {} : { token: toToken(token) }),
    ...(traceId === '' ? {} : { trace_id: traceId }),
    ...(policyVersion === undefined ? {} : { policy_version: policyVersion }),
  };
}

function toToken({ issuer, subject, binding, tokenSha256 }: TokenName): object {
  return { issuer, subject, binding, token_sha256: tokenSha256 };
}
