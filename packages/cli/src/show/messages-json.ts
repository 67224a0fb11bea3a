import type { ExecutionEvent, ExecutionResolution, OutputItem } from '@csc-fleet/client';
import {
  type CommandResult,
  type Decision,
  EndedBy,
  type Execution,
  ExecutionState,
  type Frozen,
  OutputStream,
  type Reviewed,
  Verdict,
} from '@csc-fleet/common/messages';

// What --json prints of the gate's messages: snake_case as in the artifacts, enums as lower-case names, times as
// RFC 3339, and no member for what is not there.

/** The name of an execution's state, in lower case; `unknown` for one that this csc is too old to know. */
export function stateName(state: ExecutionState): string {
  return nameOf(ExecutionState, state);
}

export function verdictName(verdict: Verdict): string {
  return nameOf(Verdict, verdict);
}

export function streamName(stream: OutputStream): string {
  return nameOf(OutputStream, stream);
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  const name = Object.keys(names).find((key) => names[key] === value && value > 0);
  return name?.toLowerCase() ?? 'unknown';
}

/** That the owners have frozen the fleet, for people: as the gate says it. */
export function describeFrozen({ since, reason, endsRunning }: Frozen): string {
  const runs = endsRunning ? 'what runs is ended' : 'what runs goes on to its end';
  const from = since === undefined ? '' : ` since ${since.toISOString()}`;
  return `the owners have frozen the fleet${from}, until csc admin thaw: nothing starts, and ${runs}: ${reason}`;
}

export function executionJson(execution: Execution): object {
  return {
    execution_id: execution.executionId,
    state: stateName(execution.state),
    contract_id: execution.contractId,
    contract_sha256: execution.contractSha256,
    intent: execution.intent,
    policy_profile: execution.policyProfile,
    principal: execution.principal,
    ...textMember('executor_id', execution.executorId),
    submitted_at: execution.submittedAt,
    started_at: execution.startedAt,
    ended_at: execution.endedAt,
    exit_code: execution.exitCode,
    ...(execution.glassBroken === true ? { glass_broken: true } : {}),
    ...(execution.mustNameHost === true ? { must_name_host: true } : {}),
    ...textMember('error', execution.error),
  };
}

/** What somebody has said who was asked. */
export function reviewJson({ approver, group, verdict, reason, approvalId }: Reviewed): object {
  return { approver, group, verdict, approval_id: approvalId, ...textMember('reason', reason) };
}

/** The PolicyDecision as it was signed, with the policy's hash and all findings beside it. */
export function decisionJson(decision: Decision): object {
  return {
    ...artifactJson(decision.decisionJson),
    policy_sha256: decision.policySha256,
    findings: decision.findings.map((finding) => ({
      reason_code: finding.reasonCode,
      ...textMember('command_id', finding.commandId),
      member: finding.member,
      message: finding.message,
    })),
  };
}

/** The owners' word on what is lost for good. */
export function resolutionJson({ verified, reason, signedAt, keyIds }: ExecutionResolution): object {
  return { verified, reason, signed_at: signedAt, key_ids: keyIds };
}

/** A signed artifact, parsed; undefined where there is none. */
export function artifactJson(bytes: Uint8Array): object | undefined {
  return bytes.length === 0 ? undefined : (JSON.parse(Buffer.from(bytes).toString('utf8')) as object);
}

function commandResultJson(result: CommandResult): object {
  return {
    command_id: result.commandId,
    ended: nameOf(EndedBy, result.endedBy),
    exit_code: result.exitCode,
    ...textMember('signal', result.signal),
    started_at: result.startedAt,
    ended_at: result.endedAt,
    ...textMember('error', result.error),
  };
}

export function eventJson(event: ExecutionEvent): object {
  const { type, sequence, at, executionId: execution_id } = event;
  return { type: snakeCase(type), execution_id, sequence, at, ...eventMembers(event) };
}

function eventMembers(event: ExecutionEvent): object {
  switch (event.type) {
    case 'decided':
      return { decision: event.decision && decisionJson(event.decision) };
    case 'queued':
      return { position: event.position, ...textMember('reason', event.reason) };
    case 'placed':
      return { executor_id: event.executorId, labels: event.labels };
    case 'started':
      return { executor_id: event.executorId, notes: event.notes };
    case 'commandStarted':
      return { command_id: event.commandId, index: event.index };
    case 'commandExited':
      return { result: event.result && commandResultJson(event.result) };
    case 'reviewed': {
      const { approver, group, verdict, reason, missing, approvalId: approval_id } = event;
      const texts = { ...textMember('reason', reason), ...textMember('missing', missing) };
      return { approver, group, verdict, approval_id, ...texts };
    }
    case 'bindingWanted':
      return { executor_id: event.executorId };
    case 'cancelling':
      return { principal: event.principal };
    case 'away':
      return { executor_id: event.executorId, since: event.since, lost_at: event.lostAt };
    case 'lost':
      return { executor_id: event.executorId, ...textMember('reason', event.reason) };
    case 'returned':
      return { executor_id: event.executorId };
    case 'finished':
      return { execution: event.execution && executionJson(event.execution) };
  }
}

/** A piece of output: `text` where it is UTF-8, `base64` otherwise. */
export function outputJson(item: OutputItem): object {
  const at = { command_id: item.commandId, stream: streamName(item.stream) };
  if (item.type === 'end') {
    return { type: 'output_end', ...at, bytes: item.length, sha256: item.sha256, truncated: item.truncated };
  }
  return { type: 'output', ...at, offset: item.offset, ...dataMember(item.data) };
}

function dataMember(data: Buffer): object {
  const text = data.toString('utf8');
  return Buffer.from(text).equals(data) ? { text } : { base64: data.toString('base64') };
}

function textMember(name: string, text: string): object {
  return text === '' ? {} : { [name]: text };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
