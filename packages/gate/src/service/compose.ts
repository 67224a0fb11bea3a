import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Signer } from '@csc-fleet/common/crypto';
import {
  ExecutionState,
  type ProveReceiptsRequest,
  ProveReceiptsResponse,
  SubmitRequest,
  type SubmitResponse,
} from '@csc-fleet/common/messages';
import { checkBindings } from '@csc-fleet/common/policy';
import { fromStoredTrace, traceIdOf } from '@csc-fleet/common/tracing';
import { auditOwners } from '../audit/owners-changes.ts';
import { readAudit } from '../audit/read-audit.ts';
import type { LiveExecution } from '../execution/execution.ts';
import type { Principal } from '../execution/executions.ts';
import { checkAdmin, checkAuditReader } from '../execution/readers.ts';
import { isTerminal, toDecision } from '../execution/row.ts';
import { wantsBinding } from '../execution/submission-of.ts';
import { Connection } from '../link/connection.ts';
import { listExecutors } from '../link/roster.ts';
import { OutputIntake } from '../output/intake.ts';
import { encodeItem, itemField } from '../output/reader.ts';
import { follow, giveOutput, watch } from '../read/follow.ts';
import { getExecution, getKeys, getReceipt, listExecutions } from '../read/look-up.ts';
import { listProfiles } from '../read/profiles.ts';
import { getStatus } from '../read/status.ts';
import type { GateHealth } from '../rpc/health-service.ts';
import type { LinkDoor, OutputDoor, PolicyDoor, ReceiptDoor } from '../rpc/link-service.ts';
import {
  type ApprovalMethods,
  approvalsWithinBounds,
  type FleetMethods,
  forAdmins,
  type GateMethods,
  withBounds,
} from '../rpc/methods.ts';
import { cancel } from '../schedule/cancel.ts';
import { resolve } from '../schedule/resolve.ts';
import { startSweeping } from '../schedule/sweep.ts';
import { bind } from '../submit/bind.ts';
import { reconsider } from '../submit/reconsider.ts';
import { check, submit } from '../submit.ts';
import type { TokenDoor } from '../traffic/token-caller.ts';
import { assemble, type GateDependencies, type GateOptions, type Parts, registerOwnKey } from './assemble.ts';

export type { GateDependencies, GateOptions } from './assemble.ts';

/**
 * A gate without a network: the methods of its service, and the doors that executors come in by. server.ts puts gRPC
 * around it, `csc run` an executor in the same process. Errors are CscErrors as docs/errors.md has them; anything else
 * is a fault of ours.
 */
export interface Gate {
  readonly methods: GateMethods;
  /** What is for admins alone. */
  readonly fleet: FleetMethods;
  /** What is for approvers alone. */
  readonly approvals: ApprovalMethods;
  readonly link: LinkDoor;
  /** By which tokens say who calls. */
  readonly tokens: TokenDoor;
  readonly output: OutputDoor;
  readonly receipts: ReceiptDoor;
  /** Absent: there is no policy repository. */
  readonly policyFiles?: PolicyDoor;
  /** How it is at this moment. */
  health(): GateHealth;
  /** The id of the trace that an open execution is of; undefined: of none. For the log. */
  traceOf(executionId: string): string | undefined;
  /** To be called when the owners say something else: what waits is held against it, and every executor told to look. */
  ownersChanged(): Promise<void>;
  /** To be called before `signer` signs with another key: it is kept with those that verify. */
  keepKey(signer: Signer): Promise<void>;
  /** Stops the timers and closes store and logs; what was open goes on when a gate is made on the same directory. */
  close(): Promise<void>;
}

/** Opens the store, takes up what was open in it, and gives a gate. Throws STORE_UNAVAILABLE, POLICY_INVALID. */
export async function createGate(options: GateOptions, dependencies: GateDependencies = {}): Promise<Gate> {
  checkBindings(options.bindings, options.policies);
  const parts = await assemble(options, dependencies);
  const { executions, scheduler, store, output, onError } = parts;
  // What was offered or runs waits for its executor's Hello.
  const waits = ({ row }: LiveExecution): number => (row.state === ExecutionState.QUEUED ? 1 : 0);
  const open = await executions.restore();
  if (dependencies.store === undefined) await loseIfRestored(parts, open);
  for (const execution of open.toSorted((a, b) => waits(a) - waits(b))) {
    parts.telemetry?.runs.restored(execution);
    parts.traces?.saw(execution);
    scheduler.restore(execution);
  }
  await auditOwners(parts);
  // Of a reload that changes nothing of it, nothing is said again.
  let toldOfLog: string | undefined;
  const tellOtherLog = (): void => {
    const other = parts.otherLog();
    if (other !== undefined && other !== toldOfLog)
      parts.onWarning('the owners’ log.yaml names another log of receipts', { why: other });
    toldOfLog = other;
  };
  tellOtherLog();
  // The owners may have said something else while this gate was away.
  if (parts.owners.tellsHosts()) await reconsider(parts);
  let auditing: Promise<void> = Promise.resolve();
  const stopSweeping = startSweeping(parts);
  // There would be nothing to forget, and it looks at every output there is.
  const stopPruning = options.retention === undefined ? async () => {} : parts.retainer.start();
  parts.log?.start();
  parts.cosigning?.start();
  return {
    methods: withBounds(toMethods(parts)),
    fleet: forAdmins(toFleet(parts), {
      admin: (principal) => checkAdmin(parts.bindings, principal),
      auditReader: (principal) => checkAuditReader(parts.bindings, principal),
    }),
    approvals: approvalsWithinBounds(toApprovals(parts)),
    link: { open: (remote) => new Connection(parts, remote) },
    tokens: {
      issuers: () => parts.owners.issuers(),
      issuerKeys: parts.issuerKeys,
      now: () => parts.clock.now(),
    },
    receipts: {
      prove: async (executor, request) =>
        (await import('../log/prove-own.ts')).proveOwnReceipts(parts, executor, request),
    },
    ...(options.policyFiles === undefined ? {} : { policyFiles: options.policyFiles }),
    output: new OutputIntake({
      executions,
      store: output,
      offers: scheduler.offers,
      limits: parts.limits,
      onError,
    }),
    health: () => ({
      storeWritable: parts.storeWritable(),
      placing:
        parts.owners.freeze() === undefined && [...scheduler.peers.all()].some(({ resting }) => !resting),
    }),
    traceOf: (executionId) => {
      const trace = fromStoredTrace(executions.openById(executionId)?.row.trace_context);
      return trace === undefined ? undefined : traceIdOf(trace);
    },
    ownersChanged: async () => {
      tellOtherLog();
      // What they have taken back counts at once, also where that cannot be written down for now.
      auditing = auditing.then(() => auditOwners(parts)).catch(onError);
      scheduler.peers.expectRenewals();
      for (const peer of scheduler.peers.all()) peer.send({ $case: 'policyChanged', value: {} });
      await reconsider(parts);
      scheduler.place();
      await auditing;
    },
    keepKey: (signer) => registerOwnKey({ ...options, signer }, parts.store, parts.clock),
    close: async () => {
      stopSweeping();
      parts.webhooks?.close();
      await stopPruning();
      await parts.cosigning?.close();
      await parts.log?.close();
      await output.close();
      await store.close();
    },
  };
}

/**
 * Of a store that was restored from a backup, what had not begun then may have run since and is not placed a second time:
 * it is LOST, unless its executor comes with the receipt. Killed meanwhile, it is done again.
 */
async function loseIfRestored({ dataDir, finisher }: Parts, open: readonly LiveExecution[]): Promise<void> {
  const { restoredMark } = await import('../store/node-sqlite.ts');
  const mark = join(dataDir, `gate.db${restoredMark}`);
  if (!existsSync(mark)) return;
  const why =
    'this gate was restored from a backup, and it may have run since that was made: nothing is run twice';
  for (const execution of open)
    if (!execution.terminal && execution.row.state !== ExecutionState.RUNNING)
      await finisher.lost(execution, why, { ticket_epoch: null });
  rmSync(mark);
}

function toMethods(parts: Parts) {
  const { executions, keys } = parts;
  // Most gates are never asked, and that of csc run has none.
  const beside = async (principal: Principal, executionId: string, wanted: ProveReceiptsRequest) =>
    (await import('../log/prove.ts')).proveBeside(parts, principal, executionId, wanted);
  return {
    submit: async ({ principal, request, trace }) => {
      const { execution, existing } = await submit(parts, principal, request, trace);
      return {
        executionId: execution.id,
        decision: toDecision(execution.row),
        state: execution.row.state as SubmitResponse['state'],
        existing,
        mustNameHost: wantsBinding(execution.row) && !isTerminal(execution.row.state),
      };
    },
    run: async ({ principal, request, trace, write, gone }) => {
      const submitted = request.submit ?? SubmitRequest.fromPartial({});
      const { execution } = await submit(parts, principal, submitted, trace);
      await follow(parts, execution, write, gone);
      if (request.prove === undefined || gone.aborted || !isTerminal(execution.row.state)) return;
      const proof = await beside(principal, execution.id, request.prove);
      if (proof !== undefined)
        await write(encodeItem(itemField.proof, ProveReceiptsResponse.encode(proof).finish()));
    },
    bind: async ({ principal, request }) => {
      await bind(parts, principal, request, parts.clock.now());
      return {};
    },
    check: async ({ principal, request }) => check(parts, principal, request),
    watch: async ({ principal, request, write, gone }) => {
      const execution = await executions.visible(principal, request.executionId);
      for await (const event of watch(parts, execution, request.fromSequence, gone)) await write({ event });
      if (request.prove === undefined || gone.aborted || !isTerminal(execution.row.state)) return;
      const proof = await beside(principal, execution.id, request.prove);
      if (proof !== undefined) await write({ event: undefined, proof });
    },
    readOutput: ({ principal, request, write, gone }) => giveOutput(parts, principal, request, write, gone),
    cancel: ({ principal, request }) => cancel(parts, principal, request),
    sendInput: ({ principal, request }) => parts.relay.send(principal, request),
    getExecution: ({ principal, request }) => getExecution(parts, principal, request),
    listExecutions: ({ principal, request }) => listExecutions(parts, principal, request),
    getReceipt: async ({ principal, request }) => {
      const receipt = await getReceipt(parts, principal, request);
      if (request.prove === undefined) return receipt;
      return { ...receipt, proof: await beside(principal, request.executionId, request.prove) };
    },
    getKeys: async ({ request }) => getKeys(keys, request),
    listProfiles: async ({ principal }) => listProfiles(parts, principal),
    getStatus: async ({ principal }) => getStatus(parts, principal),
    proveReceipts: async ({ principal, request }) =>
      (await import('../log/prove.ts')).proveReceipts(parts, principal, request),
  } satisfies GateMethods;
}

function toFleet(parts: Parts): FleetMethods {
  return {
    listExecutors: () => listExecutors(parts),
    audit: ({ request, write, gone }) => readAudit(parts, request, write, gone),
    prune: ({ request }) => parts.retainer.prune(request.dryRun ? 'count' : 'forget'),
    resolve: ({ request }) => resolve(parts, request),
    readLogTile: async ({ request }) => (await import('../log/prove.ts')).readLogTile(parts, request),
  };
}

function toApprovals({ desk }: Parts): ApprovalMethods {
  return {
    list: ({ principal, request }) => desk.list(principal, request),
    watch: ({ principal, write, gone }) => desk.watch(principal, write, gone),
    get: ({ principal, request }) => desk.get(principal, request.executionId),
    review: ({ principal, request }) => desk.review(principal, request),
  };
}
