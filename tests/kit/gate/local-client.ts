import { CscError } from '@csc-fleet/common/errors';
import { parseIdentity } from '@csc-fleet/common/identity';
import type {
  ApprovalsWatchResponse,
  AuditRecord,
  AuditRequest,
  AuditResponse,
  BindRequest,
  CancelRequest,
  CheckRequest,
  ExecutionEvent,
  GetExecutionRequest,
  GetKeysRequest,
  GetReceiptRequest,
  ListExecutionsRequest,
  ProveReceiptsRequest,
  ReadOutputRequest,
  ResolveRequest,
  SubmitRequest,
  WatchRequest,
} from '@csc-fleet/common/messages';
import type { Principal } from '../../../packages/gate/src/execution/executions.ts';
import type { ApprovalMethods, FleetMethods, GateMethods } from '../../../packages/gate/src/rpc/methods.ts';
import type { Gate } from '../../../packages/gate/src/service/compose.ts';

const never = new AbortController().signal;

type Write = (message: Uint8Array) => Promise<void>;

/** A client in the gate's own process, as a test calls one. */
export class LocalClient {
  readonly #methods: GateMethods;
  readonly #fleet: FleetMethods;
  readonly #approvals: ApprovalMethods;
  readonly #principal: Principal;

  constructor({ methods, fleet, approvals }: Pick<Gate, 'methods' | 'fleet' | 'approvals'>, uri: string) {
    this.#methods = methods;
    this.#fleet = fleet;
    this.#approvals = approvals;
    this.#principal = toPrincipal(uri);
  }

  submit(request: SubmitRequest) {
    return this.#methods.submit(this.#call(request));
  }

  run(submit: SubmitRequest, write: Write, gone: AbortSignal, prove?: ProveReceiptsRequest) {
    return this.#methods.run({ ...this.#call({ submit, prove }), write, gone });
  }

  listApprovals() {
    return this.#approvals.list(this.#call({ pageSize: 0, pageToken: '' }));
  }

  watchApprovals(write: (message: ApprovalsWatchResponse) => Promise<void>, gone: AbortSignal) {
    return this.#approvals.watch({ ...this.#call({}), write, gone });
  }

  getApproval(executionId: string) {
    return this.#approvals.get(this.#call({ executionId }));
  }

  review(executionId: string, artifactJson: Buffer) {
    return this.#approvals.review(this.#call({ executionId, artifactJson }));
  }

  bind(request: BindRequest) {
    return this.#methods.bind(this.#call(request));
  }

  check(request: CheckRequest) {
    return this.#methods.check(this.#call(request));
  }

  readOutput(request: ReadOutputRequest, write: Write, gone = never) {
    return this.#methods.readOutput({ ...this.#call(request), write, gone });
  }

  cancel(request: CancelRequest) {
    return this.#methods.cancel(this.#call(request));
  }

  getExecution(request: GetExecutionRequest) {
    return this.#methods.getExecution(this.#call(request));
  }

  listExecutions(request: Omit<ListExecutionsRequest, 'allPrincipals'> & { allPrincipals?: boolean }) {
    return this.#methods.listExecutions(this.#call({ allPrincipals: false, ...request }));
  }

  listProfiles() {
    return this.#methods.listProfiles(this.#call({}));
  }

  proveReceipts(request: Partial<ProveReceiptsRequest>) {
    const all = { executionIds: [], oldSize: 0, witnesses: 0, nameUnknown: false, ...request };
    return this.#methods.proveReceipts(this.#call(all));
  }

  readLogTile(path: string) {
    return this.#fleet.readLogTile(this.#call({ path }));
  }

  getStatus() {
    return this.#methods.getStatus(this.#call({}));
  }

  listExecutors() {
    return this.#fleet.listExecutors(this.#call({}));
  }

  resolve(request: ResolveRequest) {
    return this.#fleet.resolve(this.#call(request));
  }

  prune(dryRun: boolean) {
    return this.#fleet.prune(this.#call({ dryRun }));
  }

  /** What there is of the audit; with `gone`, also what comes until that fires. */
  async audit(request: Partial<AuditRequest> = {}, gone?: AbortSignal): Promise<AuditRecord[]> {
    const found: AuditRecord[] = [];
    const all = { fromSequence: 0, principal: '', executorId: '', policyProfile: '', outcome: '' };
    const asked = { ...all, since: undefined, until: undefined, follow: gone !== undefined, ...request };
    const write = async ({ record }: AuditResponse): Promise<void> => {
      if (record !== undefined) found.push(record);
    };
    await this.#fleet.audit({ ...this.#call(asked), write, gone: gone ?? never });
    return found;
  }

  getReceipt(request: GetReceiptRequest) {
    return this.#methods.getReceipt(this.#call(request));
  }

  getKeys(request: GetKeysRequest) {
    return this.#methods.getKeys(this.#call(request));
  }

  async *watch(request: WatchRequest, gone = never): AsyncGenerator<ExecutionEvent> {
    const left = new AbortController();
    const events = new TransformStream<ExecutionEvent, ExecutionEvent>();
    const writer = events.writable.getWriter();
    this.#methods
      .watch({
        ...this.#call(request),
        write: async ({ event }) => {
          if (event !== undefined) await writer.write(event);
        },
        gone: AbortSignal.any([gone, left.signal]),
      })
      .then(
        () => writer.close(),
        (error: unknown) => writer.abort(error),
      )
      // Who reads no more has been told.
      .catch(() => undefined);
    try {
      yield* events.readable;
    } finally {
      left.abort();
    }
  }

  #call<Request>(request: Request): { principal: Principal; request: Request } {
    return { principal: this.#principal, request };
  }
}

/** Who a client of this name is to a gate. */
export function toPrincipal(uri: string): Principal {
  const identity = parseIdentity(uri);
  if (identity?.role !== 'client') throw new CscError('INTERNAL', `${uri} is no client's identity`);
  return { ...identity, role: 'client' };
}
