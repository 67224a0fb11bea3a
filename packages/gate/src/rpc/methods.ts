import type {
  ApprovalsServer,
  ApprovalsService,
  ExecutorLinkServer,
  ExecutorLinkService,
  FleetServer,
  FleetService,
  GateServer,
  GateService,
} from '@csc-fleet/common/rpc';
import type { TraceContext } from '@csc-fleet/common/tracing';
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
} from '@grpc/grpc-js';
import { type Bounds, checkBounds, requestBounds } from '../bounds/index.ts';
import type { Principal } from '../execution/executions.ts';
import type { Caller } from '../traffic/authenticate.ts';

/** A client's call. */
export interface Call<Request> {
  readonly principal: Principal;
  readonly request: Request;
  /** Where it belongs in a trace. Absent: in none. */
  readonly trace?: TraceContext | undefined;
}

/** One that is answered with a stream. */
export interface StreamCall<Request, Response> extends Call<Request> {
  /** Resolves when there is room for the next. */
  readonly write: (message: Response) => Promise<void>;
  /** Fires when nobody takes any more. */
  readonly gone: AbortSignal;
}

/** An executor's call that has one answer. */
export interface ExecutorCall<Request> {
  readonly executor: Caller<'executor'>;
  readonly request: Request;
}

/** An executor's call: messages go both ways until either ends it. */
export interface DuplexCall<Request, Response> {
  readonly executor: Caller<'executor'>;
  readonly stream: ServerDuplexStream<Buffer, Response>;
  /** A message of the stream, decoded. Throws REQUEST_INVALID. */
  readonly read: (bytes: Buffer) => Request;
  /** Ends it well; only the first of `end` and `fail` does something, and `gone` fires with it. */
  readonly end: () => void;
  readonly fail: (error: unknown) => void;
  /** Fires when the call is over, however that came. */
  readonly gone: AbortSignal;
}

// As grpc-js has a method of a generated service, and as a handler of ours has it.
type Handler<Method> =
  Method extends handleUnaryCall<infer Request, infer Response>
    ? (call: Call<Request>) => Promise<Response>
    : Method extends handleServerStreamingCall<infer Request, infer Response>
      ? (call: StreamCall<Request, Response>) => Promise<void>
      : Method extends handleBidiStreamingCall<infer Request, infer Response>
        ? (call: DuplexCall<Request, Response>) => Promise<void>
        : never;

type LinkHandler<Method> =
  Method extends handleUnaryCall<infer Request, infer Response>
    ? (call: ExecutorCall<Request>) => Promise<Response>
    : Handler<Method>;

// Output is relayed as it lies on disk: these give responses that are encoded already.
type Encoded<Method> =
  Method extends handleServerStreamingCall<infer Request, unknown>
    ? (call: StreamCall<Request, Uint8Array>) => Promise<void>
    : never;

/** A handler for every method of csc.gate.v1.Gate. Errors are CscErrors; anything else is a fault of ours. */
export type GateMethods = {
  readonly [Name in keyof typeof GateService]: Name extends 'run' | 'readOutput'
    ? Encoded<GateServer[Name]>
    : Handler<GateServer[Name]>;
};

/** A handler for every method of csc.gate.v1.Fleet, likewise. */
export type FleetMethods = {
  readonly [Name in keyof typeof FleetService]: Handler<FleetServer[Name]>;
};

/** A handler for every method of csc.gate.v1.Approvals, likewise. */
export type ApprovalMethods = {
  readonly [Name in keyof typeof ApprovalsService]: Handler<ApprovalsServer[Name]>;
};

/** A handler for every method of csc.link.v1.ExecutorLink. */
export type LinkMethods = {
  readonly [Name in keyof typeof ExecutorLinkService]: LinkHandler<ExecutorLinkServer[Name]>;
};

/** Methods that look at no request before each of its members is within its bounds: REQUEST_INVALID where one is not. */
export function withBounds(methods: GateMethods): GateMethods {
  return {
    submit: within(requestBounds.submit, methods.submit),
    run: within(requestBounds.run, methods.run),
    bind: within(requestBounds.bind, methods.bind),
    check: within(requestBounds.check, methods.check),
    watch: within(requestBounds.watch, methods.watch),
    readOutput: within(requestBounds.readOutput, methods.readOutput),
    cancel: within(requestBounds.cancel, methods.cancel),
    sendInput: within(requestBounds.sendInput, methods.sendInput),
    getExecution: within(requestBounds.getExecution, methods.getExecution),
    listExecutions: within(requestBounds.listExecutions, methods.listExecutions),
    getReceipt: within(requestBounds.getReceipt, methods.getReceipt),
    getKeys: within(requestBounds.getKeys, methods.getKeys),
    listProfiles: within(requestBounds.listProfiles, methods.listProfiles),
    getStatus: within(requestBounds.getStatus, methods.getStatus),
    proveReceipts: within(requestBounds.proveReceipts, methods.proveReceipts),
  };
}

/** Likewise for csc.gate.v1.Approvals. */
export function approvalsWithinBounds(methods: ApprovalMethods): ApprovalMethods {
  return {
    list: within(requestBounds.approvalsList, methods.list),
    watch: within(requestBounds.approvalsWatch, methods.watch),
    get: within(requestBounds.approvalsGet, methods.get),
    review: within(requestBounds.approvalsReview, methods.review),
  };
}

/** Each throws NOT_PERMITTED. */
interface FleetChecks {
  readonly admin: (principal: Principal) => void;
  /** Who only reads what was decided and has happened. */
  readonly auditReader: (principal: Principal) => void;
}

/** Methods that are for admins alone, or for auditors too: NOT_PERMITTED for everybody else, whatever they ask. */
export function forAdmins(methods: FleetMethods, { admin, auditReader }: FleetChecks): FleetMethods {
  const guard =
    (check: (principal: Principal) => void) =>
    <Calling extends Call<unknown>, Response>(next: (call: Calling) => Promise<Response>) =>
    async (call: Calling): Promise<Response> => {
      check(call.principal);
      return next(call);
    };
  const [guarded, readable] = [guard(admin), guard(auditReader)];
  return {
    listExecutors: guarded(methods.listExecutors),
    prune: guarded(methods.prune),
    audit: readable(methods.audit),
    resolve: guarded(within(requestBounds.resolve, methods.resolve)),
    readLogTile: readable(within(requestBounds.readLogTile, methods.readLogTile)),
  };
}

function within<Request extends Call<unknown>, Response>(
  bounds: Bounds,
  next: (call: Request) => Promise<Response>,
): (call: Request) => Promise<Response> {
  return (call) => {
    try {
      checkBounds(bounds, call.request);
    } catch (error) {
      return Promise.reject(error);
    }
    return next(call);
  };
}
