import { CscError } from '@csc-fleet/common/errors';
import { parseIdentity } from '@csc-fleet/common/identity';
import type {
  BindRequest,
  CancelRequest,
  CheckRequest,
  ExecutionEvent,
  GetExecutionRequest,
  GetKeysRequest,
  GetReceiptRequest,
  ListExecutionsRequest,
  ReadOutputRequest,
  SubmitRequest,
  WatchRequest,
} from '@csc-fleet/common/messages';
import type { Principal } from '../../../packages/gate/src/execution/executions.ts';
import type { GateMethods } from '../../../packages/gate/src/rpc/methods.ts';

const never = new AbortController().signal;

type Write = (message: Uint8Array) => Promise<void>;

/** A client in the gate's own process, as a test calls one. */
export class LocalClient {
  readonly #methods: GateMethods;
  readonly #principal: Principal;

  constructor(methods: GateMethods, uri: string) {
    this.#methods = methods;
    this.#principal = toPrincipal(uri);
  }

  submit(request: SubmitRequest) {
    return this.#methods.submit(this.#call(request));
  }

  run(submit: SubmitRequest, write: Write, gone: AbortSignal) {
    return this.#methods.run({ ...this.#call({ submit }), write, gone });
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

  listExecutions(request: ListExecutionsRequest) {
    return this.#methods.listExecutions(this.#call(request));
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

function toPrincipal(uri: string): Principal {
  const identity = parseIdentity(uri);
  if (identity?.role !== 'client') throw new CscError('INTERNAL', `${uri} is no client's identity`);
  return { ...identity, role: 'client' };
}
