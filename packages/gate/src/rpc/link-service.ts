import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { CscError, guarded } from '@csc-fleet/common/errors';
import {
  type ConnectResponse,
  type ErrorLog,
  ExecutorLinkService,
  type Identity,
  type PushOutputRequest,
  type PushOutputResponse,
  pingPeer,
  toServiceError,
  widenReceiveWindow,
} from '@csc-fleet/common/rpc';
import { asOwner } from '@csc-fleet/common/service';
import type { ServerDuplexStream, ServiceError, UntypedServiceImplementation } from '@grpc/grpc-js';
import { checkBounds, pushOutputBounds } from '../bounds/index.ts';
import type { Gate } from '../service/compose.ts';
import { authenticate } from '../traffic/authenticate.ts';
import { draining, goneController, toOwner } from './calls.ts';
import { createPace, pace } from './pace.ts';
import { readAsAnswered } from './read-as-answered.ts';
import { Reading } from './reading.ts';

export interface LinkRules {
  /** The gate's own, and the only one that executors may be of. */
  readonly trustDomain: string;
  readonly log: ErrorLog;
  /** An executor that has said nothing for this long is gone. */
  readonly silenceMs: number;
  /** Fires when the gate stops: connections that have no end of their own are ended. */
  readonly stopping: AbortSignal;
}

/** csc.link.v1.ExecutorLink with messages that are not decoded: grpc-js would call what is none INTERNAL. */
export const linkService = {
  ...ExecutorLinkService,
  connect: { ...ExecutorLinkService.connect, requestDeserialize: (bytes: Buffer) => bytes },
  pushOutput: { ...ExecutorLinkService.pushOutput, requestDeserialize: (bytes: Buffer) => bytes },
};

function decode<Message>(decodeBytes: (bytes: Buffer) => Message, bytes: Buffer): Message {
  try {
    return decodeBytes(bytes);
  } catch (cause) {
    throw new CscError('REQUEST_INVALID', 'what came is not a message of this method', { cause });
  }
}

/** The methods of csc.link.v1.ExecutorLink for a gate. */
export function linkMethods(gate: Gate, rules: LinkRules): UntypedServiceImplementation {
  return {
    connect: (call: ServerDuplexStream<Buffer, ConnectResponse>) =>
      guard(call, rules, (executor) => connect(gate, rules, executor, call)),
    pushOutput: (call: ServerDuplexStream<Buffer, PushOutputResponse>) =>
      guard(call, rules, (executor) => pushOutput(gate, rules, executor, call)),
  };
}

type DuplexCall<Response> = ServerDuplexStream<Buffer, Response>;

function guard<Response>(
  call: DuplexCall<Response>,
  rules: LinkRules,
  handle: (executor: Identity) => void,
): void {
  const fail = (error: ServiceError): void => void call.emit('error', error);
  const begin = guarded(
    () => handle(authenticate(call, 'executor', rules.trustDomain)),
    (error) => fail(toServiceError(error, rules.log)),
  );
  asOwner(toOwner(call, fail), begin);
}

function connect(gate: Gate, rules: LinkRules, executor: Identity, call: DuplexCall<ConnectResponse>): void {
  const gone = goneController(call);
  const hangUp = (error: unknown): void => {
    if (!gone.signal.aborted) call.emit('error', toServiceError(error, rules.log));
    gone.abort();
  };
  const session = gate.link.open(
    executor,
    (message) => {
      if (!gone.signal.aborted) call.write(message);
    },
    hangUp,
    () => pingPeer(call),
  );
  // Not destroyed, which would not tell the executor.
  const silence = setTimeout(() => {
    call.end();
    gone.abort();
  }, rules.silenceMs);
  const reading = new Reading(call);
  readAsAnswered(call, reading);
  const paced = pace(reading);
  const take = (bytes: Buffer): void => {
    silence.refresh();
    paced(bytes.length);
    session.receive(decode(ExecutorLinkService.connect.requestDeserialize, bytes));
  };
  call.on('data', guarded(take, hangUp));
  call.on('end', () => call.end());
  call.on('error', () => undefined);
  const end = (): void => void call.end();
  rules.stopping.addEventListener('abort', end);
  gone.signal.addEventListener('abort', () => {
    clearTimeout(silence);
    rules.stopping.removeEventListener('abort', end);
    session.closed();
  });
}

// One message at a time: while one is written to disk the next waits in the transport's window.
function pushOutput(
  gate: Gate,
  rules: LinkRules,
  executor: Identity,
  call: DuplexCall<PushOutputResponse>,
): void {
  const gone = goneController(call);
  call.on('error', () => undefined);
  const fail = (error: unknown): void => {
    if (!gone.signal.aborted) call.emit('error', toServiceError(error, rules.log));
    gone.abort();
  };
  const stop = (): void => fail(draining());
  rules.stopping.addEventListener('abort', stop);
  gone.signal.addEventListener('abort', () => rules.stopping.removeEventListener('abort', stop));
  // Who does not read what is committed is not read from.
  const commit = async (committedLength: number): Promise<void> => {
    if (!call.write({ committedLength })) await once(call, 'drain', { signal: gone.signal });
  };
  const paced = createPace();
  const serve = async (): Promise<void> => {
    let executionId = '';
    let committed = 0;
    // Not destroyed by an error of ours, which would then not reach the executor.
    for await (const bytes of call.iterator({ destroyOnReturn: false })) {
      const message: PushOutputRequest = decode(ExecutorLinkService.pushOutput.requestDeserialize, bytes);
      checkBounds(pushOutputBounds, message);
      const { executionId: named, logOffset, frames } = message;
      if (executionId === '') {
        if (!gate.output.mayPush(executor, named))
          throw new CscError('EXECUTION_UNKNOWN', 'this executor does not have this execution');
        executionId = named;
        // Only now: a window is memory, and this is an executor that has something to send.
        widenReceiveWindow(call);
        gate.output.hold(executionId, gone.signal);
        committed = await gate.output.committedLength(executionId);
        await commit(committed);
        if (frames.length === 0) continue;
      } else if (!gate.output.mayPush(executor, executionId)) {
        throw new CscError('EXECUTION_UNKNOWN', 'this executor has this execution no more');
      }
      const before = committed;
      committed = await gate.output.append(executionId, logOffset, frames);
      // What brings output is bounded by its ticket; what brings none could come for ever, as fast as it can be read.
      const waitMs = committed > before ? 0 : paced(bytes.length);
      if (waitMs > 0) await delay(waitMs, undefined, { signal: gone.signal, ref: false });
      await commit(committed);
    }
    call.end();
    gone.abort();
  };
  serve().catch(fail);
}
