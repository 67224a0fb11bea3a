import { CscError } from '@csc-fleet/common/errors';
import {
  type ExecutorLinkClient,
  fromServiceError,
  type PushOutputResponse,
  type ServiceError,
} from '@csc-fleet/common/rpc';
import type { Transport } from './scripted-executor.ts';

/** A unary call as a promise, which rejects with the CscError that a client makes of the status. */
export function ask<Response>(
  call: (done: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) =>
    call((error, response) => (error === null ? resolve(response) : reject(fromServiceError(error)))),
  );
}

/** All messages of a stream; rejects likewise. */
export async function collect<Message>(stream: AsyncIterable<unknown>): Promise<Message[]> {
  const messages: Message[] = [];
  try {
    for await (const message of stream) messages.push(message as Message);
  } catch (error) {
    throw fromServiceError(error);
  }
  return messages;
}

/** Resolves to `done` or to the code of the error: nothing is left unhandled while something else is waited for. */
export function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: unknown) => fromServiceError(error).code,
  );
}

/** The way to a gate for a scripted executor. */
export function toTransport(client: ExecutorLinkClient): Transport {
  return {
    link: { open: (remote) => open(client, remote) },
    output: { append: (...args) => append(client, ...args) },
  };
}

function open(
  client: ExecutorLinkClient,
  { send, hangUp }: Parameters<Transport['link']['open']>[0],
): ReturnType<Transport['link']['open']> {
  const call = client.connect();
  let over = false;
  const end = (error: CscError): void => {
    if (!over) hangUp(error);
    over = true;
  };
  call.on('data', send);
  call.on('error', (error) => end(fromServiceError(error)));
  call.on('end', () => end(new CscError('GATE_UNREACHABLE', 'the gate ended the connection')));
  return { receive: (message) => void call.write(message), closed: () => call.cancel() };
}

async function append(
  client: ExecutorLinkClient,
  executionId: string,
  logOffset: number,
  frames: Uint8Array,
): Promise<number> {
  const call = client.pushOutput();
  call.write({ executionId, logOffset, frames: Buffer.from(frames) });
  call.end();
  const answers = await collect<PushOutputResponse>(call);
  return answers.at(-1)?.committedLength ?? 0;
}
