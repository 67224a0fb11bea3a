import type { Approver, Approvers } from '@csc-fleet/common/approval';
import { argvs, type CommandContract } from '@csc-fleet/common/contract';
import { toBase64 } from '@csc-fleet/common/crypto';
import { TokenBucket } from '@csc-fleet/common/doorway';
import { canonicalJson } from '@csc-fleet/common/encoding';
import { CscError, openings } from '@csc-fleet/common/errors';
import {
  type ApprovalsGetResponse,
  type ApprovalsListRequest,
  type ApprovalsListResponse,
  type ApprovalsWatchResponse,
  ExecutionState,
  type PendingApproval,
  type ReviewRequest,
  type ReviewResponse,
} from '@csc-fleet/common/messages';
import { Signal } from '@csc-fleet/common/service';
import type { LiveExecution } from '../execution/execution.ts';
import type { Executions, Principal } from '../execution/executions.ts';
import { fromStoredApprovals, toDecision, toExecution } from '../execution/row.ts';
import type { Store } from '../store/store.ts';
import { glassGroups, groupsAsked, isOwn, type Looked, lookAt, toPending } from './pending.ts';
import { type ReviewPorts, review } from './review.ts';

export interface DeskPorts extends ReviewPorts {
  readonly executions: Pick<Executions, 'contract' | 'moving' | 'find'>;
  readonly store: Pick<Store, 'list'>;
  readonly monotonicMs: () => number;
}

const defaultPage = 50;
const maxPage = 1000;
/** Verdicts of one person, over time and at once. */
const verdictsPerMin = 60;

/** Where the people who are asked look at what waits, and hand in what they have signed. */
export class ApprovalDesk {
  readonly #ports: DeskPorts;
  readonly #changed = new Signal();
  /** What waited when it was seen last. */
  readonly #waiting = new Set<string>();
  readonly #rates = new Map<string, TokenBucket>();

  constructor(ports: DeskPorts) {
    this.#ports = ports;
  }

  /** To be told of every step of an execution. */
  saw({ id, row }: LiveExecution): void {
    const waits = row.state === ExecutionState.AWAITING_APPROVAL;
    if (waits) this.#waiting.add(id);
    const left = !waits && this.#waiting.delete(id);
    if (waits || left) this.#changed.ring();
  }

  /** Oldest first. Throws NOT_PERMITTED. */
  async list(
    principal: Principal,
    { pageSize, pageToken }: ApprovalsListRequest,
  ): Promise<ApprovalsListResponse> {
    const person = this.#person(principal);
    const size = pageSize <= 0 ? defaultPage : Math.min(pageSize, maxPage);
    const waiting = this.#thatWait();
    // What the page began with is over: from the beginning again.
    const from = Math.max(
      waiting.findIndex(({ id }) => id === pageToken),
      0,
    );
    const now = this.#ports.clock.now();
    const pending: PendingApproval[] = [];
    for await (const looked of this.#visible(person, waiting.slice(from))) {
      if (pending.length === size) return { pending, nextPageToken: looked.execution.id };
      pending.push(toPending(this.#ports, looked, person, now));
    }
    return { pending, nextPageToken: '' };
  }

  /** What waits, then each as it changes, until `gone` fires. Throws NOT_PERMITTED. */
  async watch(
    principal: Principal,
    write: (message: ApprovalsWatchResponse) => Promise<void>,
    gone: AbortSignal,
  ): Promise<void> {
    // Of what was shown, no contract: there may be thousands of a megabyte.
    const shown = new Map<string, { readonly told: string; readonly execution: LiveExecution }>();
    while (!gone.aborted) {
      // Before it is looked: what changes meanwhile is looked at next.
      const changed = this.#changed.wait(gone);
      const person = this.#person(principal);
      const now = this.#ports.clock.now();
      const still = new Set<string>();
      for await (const looked of this.#visible(person)) {
        const { execution } = looked;
        const { id, row } = execution;
        still.add(id);
        const told = `${row.approvals_json} ${row.policy_sha256}`;
        if (shown.get(id)?.told === told) continue;
        shown.set(id, { told, execution });
        await write({ pending: toPending(this.#ports, looked, person, now), over: false });
      }
      for (const [id, { execution }] of shown) {
        if (still.has(id)) continue;
        shown.delete(id);
        const looked = await lookAt(this.#ports, execution);
        const pending =
          looked === undefined
            ? { ...nothingKept, execution: toExecution(execution.row) }
            : toPending(this.#ports, looked, person, now);
        await write({ pending, over: true });
      }
      await changed;
    }
  }

  /** Throws NOT_PERMITTED, EXECUTION_UNKNOWN. */
  async get(principal: Principal, idOrPrefix: string): Promise<ApprovalsGetResponse> {
    const person = this.#person(principal);
    const approvers = this.#approvers();
    const looked = await this.#find(person, idOrPrefix);
    const { execution, contractJson, policy } = looked;
    const { row } = execution;
    const last = await this.#lastApproved(looked);
    const version = this.#ports.owners.version();
    const glass = glassGroups(person, approvers);
    return {
      pending: toPending(this.#ports, looked, person, this.#ports.clock.now()),
      contractJson: Buffer.from(contractJson),
      submissionJson: Buffer.from(row.submission_json ?? ''),
      decision: toDecision(row),
      trustDomain: this.#ports.trustDomain,
      policyVersion: version,
      policyJson: Buffer.from(canonicalJson(policy.written ?? { ...policy.policy })),
      approvalsJson: fromStoredApprovals(row.approvals_json),
      lastApprovedContractJson: Buffer.from(last?.contractJson ?? ''),
      lastApprovedExecutionId: last?.id ?? '',
      lastApprovedAt: last?.at,
      groups: groupsAsked(looked, person, approvers),
      breakGlassGroups: glass,
      breakGlassMaxSec: glass.length === 0 ? 0 : (approvers.breakGlass?.maxSec ?? 0),
      keyIds: Object.fromEntries(person.keys.map((it) => [it.keyId, toBase64(it.publicKey)])),
    };
  }

  /** Resolves once it is on disk. Throws NOT_PERMITTED, EXECUTION_UNKNOWN, RATE_LIMITED, and what review throws. */
  async review(principal: Principal, { executionId, artifactJson }: ReviewRequest): Promise<ReviewResponse> {
    const person = this.#person(principal);
    this.#take(person);
    const looked = await this.#find(person, executionId);
    const existing = await review(this.#ports, looked, person.identity, artifactJson);
    return { pending: toPending(this.#ports, looked, person, this.#ports.clock.now()), existing };
  }

  #approvers(): Approvers {
    const approvers = this.#ports.owners.approvers();
    if (approvers !== undefined) return approvers;
    throw new CscError(
      'NOT_PERMITTED',
      "nobody approves here: the owners' policy repository has no approvers.yaml",
    );
  }

  #person({ uri }: Principal): Approver {
    const person = this.#approvers().find(uri);
    if (person !== undefined) return person;
    throw new CscError(
      'NOT_PERMITTED',
      `${openings.notAnApprover}and ${uri} is none: the owners name them in approvers.yaml`,
    );
  }

  #take({ identity }: Approver): void {
    const now = this.#ports.monotonicMs();
    const bucket = this.#rates.get(identity) ?? new TokenBucket(verdictsPerMin / 60, verdictsPerMin, now);
    // No more than approvers.yaml names.
    this.#rates.set(identity, bucket);
    if (bucket.take(now)) return;
    const message = `more than ${verdictsPerMin} verdicts a minute of ${identity}: wait`;
    throw new CscError('RATE_LIMITED', message, { retryAfterMs: bucket.waitMs(now) });
  }

  // Its own submissions are shown to nobody for approval; who may break the glass sees all that waits.
  // One at a time: each contract comes from the store, and is held for as long as it is looked at.
  async *#visible(person: Approver, waiting = this.#thatWait()): AsyncGenerator<Looked> {
    for (const execution of waiting) {
      const found = await lookAt(this.#ports, execution);
      if (found !== undefined && this.#maySee(found, person)) yield found;
    }
  }

  #thatWait(): LiveExecution[] {
    return [...this.#ports.executions.moving()]
      .filter(({ row }) => row.state === ExecutionState.AWAITING_APPROVAL)
      .sort((a, b) => (a.row.submitted_at < b.row.submitted_at ? -1 : 1));
  }

  #maySee(looked: Looked, person: Approver): boolean {
    const approvers = this.#approvers();
    return groupsAsked(looked, person, approvers).length > 0 || glassGroups(person, approvers).length > 0;
  }

  async #find(person: Approver, idOrPrefix: string): Promise<Looked> {
    const id = /^[0-9a-f][0-9a-f-]{3,34}$/i.test(idOrPrefix)
      ? await this.#named(person, idOrPrefix)
      : idOrPrefix;
    const execution = await this.#ports.executions.find(id);
    const looked = execution === undefined ? undefined : await lookAt(this.#ports, execution);
    if (looked !== undefined && wasAsked(looked) && this.#maySee(looked, person)) return looked;
    // No news to who has submitted it.
    if (looked !== undefined && isOwn(looked, person))
      throw new CscError(
        'NOT_PERMITTED',
        `${person.identity} has submitted ${looked.execution.id}: others must agree to it`,
      );
    throw new CscError(
      'EXECUTION_UNKNOWN',
      'there is no such execution, or nobody asks you about it: check the id, and csc approvals',
    );
  }

  async #named(person: Approver, prefix: string): Promise<string> {
    const named = this.#thatWait().filter(({ id }) => id.startsWith(prefix.toLowerCase()));
    const found: string[] = [];
    for await (const { execution } of this.#visible(person, named)) found.push(execution.id);
    if (found.length > 1)
      throw new CscError('EXECUTION_UNKNOWN', `several begin with ${prefix}: give more of the id`);
    const own = named.find((execution) => isOwn({ execution }, person));
    return found[0] ?? own?.id ?? prefix;
  }

  // Of the same principal and profile, with the same programs.
  async #lastApproved({ execution: { row, id }, contract }: Looked) {
    const rows = await this.#ports.store.list({
      principal: row.principal,
      states: ranStates,
      limit: lookedBack,
    });
    const candidates = rows
      .filter((it) => it.approvals_json !== '[]' && it.policy_profile === row.policy_profile)
      .filter((it) => it.execution_id !== id)
      .slice(0, contractsLookedAt);
    for (const it of candidates) {
      const contractJson = await this.#ports.executions.contract(it.execution_id);
      if (
        contractJson === '' ||
        programsOf(JSON.parse(contractJson) as CommandContract) !== programsOf(contract)
      )
        continue;
      const at = it.started_at === null ? undefined : new Date(it.started_at);
      return { id: it.execution_id, contractJson, at };
    }
    return undefined;
  }
}

// Of one whose contract is not kept any more: that it is over.
const nothingKept = {
  until: undefined,
  quorum: [],
  reviewed: false,
  riskClass: '',
  reason: '',
  people: 0,
  groups: [],
  mayBreakGlass: false,
};

const ranStates = [ExecutionState.RUNNING, ExecutionState.SUCCEEDED, ExecutionState.FAILED];
const lookedBack = 200;
const contractsLookedAt = 8;

function programsOf({ commands }: CommandContract): string {
  return JSON.stringify(commands.flatMap((it) => argvs(it).map(([program = '']) => program)));
}

// What never waited is nobody's business but its submitter's.
function wasAsked({ execution: { row } }: Looked): boolean {
  return (
    row.state === ExecutionState.AWAITING_APPROVAL || row.approvals_json !== '[]' || row.started_at === null
  );
}
