import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import {
  type ApprovalsServer,
  ApprovalsService,
  type BindRequest,
  ExecutionState,
  type ExecutorStatus,
  type FleetServer,
  FleetService,
  type GateServer,
  GateService,
  GetStatusResponse,
  KeyRole,
  type PublicKey,
  type RunResponse,
  type SubmitRequest,
  toServiceError,
} from '@csc-fleet/common/rpc';
import {
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';
import {
  executionId,
  type Script,
  scriptedDecision,
  scriptedEvents,
  scriptedExecution,
  scriptedOutput,
  scriptedReceipt,
} from './scripted-execution.ts';

/**
 * A gRPC server that answers as a gate would for one scripted execution, and breaks off where a test says so. It is
 * for faults of the transport: the integration tests have real gates.
 */
export class ScriptedGate implements AsyncDisposable {
  readonly signer = createSigner(generateKeyPair().seed, 'key-1');
  /** The keys that it names, with their owners. */
  readonly keys: PublicKey[] = [toPublicKey(this.signer, 'spiffe://csc.local/executor/host-1')];
  /** What was asked, in order. */
  readonly runs: SubmitRequest[] = [];
  readonly submitted: SubmitRequest[] = [];
  readonly bound: BindRequest[] = [];
  readonly cancelled: string[] = [];
  readonly readFrom: number[] = [];
  readonly watchedFrom: number[] = [];
  readonly keysAsked: string[][] = [];
  /** Each stream takes one number and breaks off after so many messages. None left: it does not break off. */
  readonly breakAfter: number[] = [];
  /** The same for the next ReadOutputs, which leave the other numbers alone. */
  readonly breakOutputAfter: number[] = [];
  /** Streams stay open after their last message. */
  hang = false;
  /** Streams are taken, and never begun to be answered; the connection is kept alive all the same. */
  mute = false;
  /** Streams are told of as begun before anything is said. */
  announces = false;
  /** Watch tells of the decision and of nothing later, and a Run of no end. */
  unfinished = false;
  /** The executors that it tells an admin of; with any, whoever asks is one. */
  readonly executors: ExecutorStatus[] = [];
  /** What a Run waits for before it says anything. */
  beforeRun: () => Promise<void> = async () => {};
  /** What every call fails with. */
  refusal: CscError | undefined;
  readonly #script: Script;
  readonly #server = new Server();
  #port = 0;

  constructor(script: Script) {
    this.#script = { at: new Date(), ...script };
  }

  /** What connect() needs to reach it. */
  get connectOptions() {
    return { address: `127.0.0.1:${this.#port}`, credentials: credentials.createInsecure() };
  }

  /**
   * @param own absent: no TLS, which only a client in this process can be told
   * @param port absent: any
   */
  async listen(own: ServerCredentials = ServerCredentials.createInsecure(), port = 0): Promise<this> {
    this.#server.addService(GateService, this.#handlers());
    const fleet: FleetServer = {
      listExecutors: (_, done) => done(null, { executors: this.executors }),
      prune: (_, done) => done(toServiceError(new CscError('NOT_PERMITTED', 'not by a script'))),
      audit: (call) =>
        void call.emit('error', toServiceError(new CscError('NOT_PERMITTED', 'not by a script'))),
      resolve: (_, done) => done(toServiceError(new CscError('NOT_PERMITTED', 'not by a script'))),
      readLogTile: (_, done) => done(null, { found: false, content: Buffer.alloc(0) }),
    };
    this.#server.addService(FleetService, fleet);
    const unknown = toServiceError(new CscError('EXECUTION_UNKNOWN', 'not by a script'));
    const approvals: ApprovalsServer = {
      list: (_, done) => done(null, { pending: [], nextPageToken: '' }),
      watch: (call) => this.#send(call, []),
      get: (_, done) => done(unknown),
      review: (_, done) => done(unknown),
    };
    this.#server.addService(ApprovalsService, approvals);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#server.bindAsync(`127.0.0.1:${port}`, own, (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    this.#port = await promise;
    return this;
  }

  receiptJson(): Buffer {
    return scriptedReceipt(this.#script, this.signer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  #handlers(): GateServer {
    const script = this.#script;
    const execution = scriptedExecution(script);
    const decision = scriptedDecision(script);
    return {
      submit: ({ request }, done) => {
        this.submitted.push(request);
        if (this.refusal) return done(toServiceError(this.refusal));
        const mustNameHost = (script.bindTo ?? []).length > 0;
        done(null, { executionId, decision, state: ExecutionState.QUEUED, existing: false, mustNameHost });
      },
      run: (call) => {
        if (call.request.submit !== undefined) this.runs.push(call.request.submit);
        void this.beforeRun().then(() => this.#send(call, this.#runMessages()));
      },
      bind: ({ request }, done) => {
        this.bound.push(request);
        done(null, {});
      },
      sendInput: (_, done) => done(null, { sequence: 0, ended: 'it has no terminal' }),
      check: (_, done) => (this.refusal ? done(toServiceError(this.refusal)) : done(null, { decision })),
      watch: (call) => {
        const from = call.request.fromSequence;
        this.watchedFrom.push(from);
        const events = scriptedEvents(script, this.receiptJson()).filter(
          ({ sequence }) => sequence >= from && (!this.unfinished || sequence === 1),
        );
        this.#send(
          call,
          events.map((event) => ({ event })),
        );
      },
      readOutput: (call) => {
        this.readFrom.push(call.request.from[0]?.offset ?? 0);
        // From the beginning, whatever was asked: a client must not take anything twice.
        const limit = this.breakOutputAfter.shift();
        if (limit !== undefined) this.breakAfter.unshift(limit);
        this.#send(call, scriptedOutput(script));
      },
      cancel: ({ request }, done) => {
        this.cancelled.push(request.executionId);
        if (this.refusal) return done(toServiceError(this.refusal));
        done(null, { execution });
      },
      getExecution: (_, done) =>
        done(null, {
          execution,
          decision,
          resolutionsJson: [...(script.resolutionsJson ?? [])],
          absence: undefined,
          reviews: [],
          approvalMissing: '',
        }),
      listExecutions: ({ request }, done) =>
        done(null, { executions: [execution], nextPageToken: request.pageToken === '' ? 'more' : '' }),
      getReceipt: (_, done) =>
        done(null, {
          receiptJson: this.receiptJson(),
          originalJson: this.#script.originalJson ?? Buffer.alloc(0),
        }),
      getKeys: ({ request }, done) => {
        this.keysAsked.push(request.keyIds);
        done(null, { keys: this.keys });
      },
      proveReceipts: (_, done) =>
        done(null, {
          checkpoint: Buffer.alloc(0),
          consistency: [],
          proofs: [],
          logVkey: '',
          unknownExecutionIds: [],
        }),
      listProfiles: (_, done) => done(null, { profiles: [] }),
      getStatus: (_, done) => done(null, GetStatusResponse.fromPartial({ admin: this.executors.length > 0 })),
    };
  }

  #runMessages(): RunResponse[] {
    const events = scriptedEvents(this.#script, this.receiptJson());
    const items = events.map((value): RunResponse => ({ item: { $case: 'event', value } }));
    const rest = this.unfinished ? [] : items.slice(2);
    return [...items.slice(0, 2), ...scriptedOutput(this.#script), ...rest];
  }

  #send<T>(call: ServerWritableStream<unknown, T>, messages: readonly T[]): void {
    if (this.announces) {
      const begun = new Metadata();
      begun.set('csc-begun', '1');
      call.sendMetadata(begun);
    }
    if (this.mute) return;
    const limit = this.refusal === undefined ? this.breakAfter.shift() : 0;
    for (const message of messages.slice(0, limit)) call.write(message);
    if (this.refusal !== undefined) call.emit('error', toServiceError(this.refusal));
    else if (limit !== undefined) call.emit('error', { code: status.UNAVAILABLE, details: 'gone' });
    else if (!this.hang) call.end();
  }
}

/** A key as a gate names it. */
export function toPublicKey({ keyId, publicKey }: Signer, owner: string): PublicKey {
  const always = { notBefore: undefined, notAfter: undefined, revokedAt: undefined };
  const role = owner.includes('/executor/') ? KeyRole.EXECUTOR : KeyRole.GATE;
  return { keyId, publicKey: Buffer.from(publicKey), owner, role, ...always };
}
