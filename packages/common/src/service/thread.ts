import { extname } from 'node:path';
import {
  MessageChannel,
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  Worker,
  workerData,
} from 'node:worker_threads';
import { CscError, isCscError } from '../errors/index.ts';
import { threadLostCode } from './last-handler.ts';

/** What goes from the thread that asks to the one that does the work, and back. */
type Request = { readonly id: number; readonly what: unknown };
type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: SentError }
  | { readonly id: number; readonly question: unknown }
  | { readonly about: number; readonly notice: unknown };

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly answer: ((question: unknown) => unknown) | undefined;
}

interface Given {
  readonly answers: MessagePort;
  /** One 32-bit number: 1 where an answer waits. */
  readonly answered: Int32Array;
}

/**
 * A thread that does what would hold up the event loop, as an fsync does. It keeps the process alive only while it is asked
 * for something. Where it ends by itself, nobody knows what it had done of what it was asked: the process ends with it, as
 * after a kill, and its next start makes up for what was under way (`installLastHandler`).
 */
export class Thread {
  readonly #worker: Worker;
  readonly #answers: MessagePort;
  readonly #answered = new Int32Array(new SharedArrayBuffer(4));
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<number, (notice: unknown) => void>();
  #last = 0;

  /**
   * @param name for people: what it is for
   * @param file of the module that it runs, which calls `serveThread`: as it is named beside `from`, without its ending
   * @param from URL of the module that asks; both are sources, or compiled, or bundled
   */
  constructor(name: string, file: string, from: string) {
    const { port1, port2 } = new MessageChannel();
    this.#answers = port1;
    const given: Given = { answers: port2, answered: this.#answered };
    this.#worker = new Worker(new URL(`${file}${extname(from)}`, from), {
      ...{ name, workerData: given, transferList: [port2] },
      // What the process was started with may be for its own module alone.
      execArgv: [],
    });
    this.#worker.on('message', (reply: Reply) => this.#take(reply));
    this.#worker.once('error', (cause) => lose(name, cause));
    this.#worker.once('exit', (code) => lose(name, `it ended with ${code}`));
    this.#worker.unref();
  }

  /**
   * Resolves with what the thread gives for it; rejects with what it throws there. Both are copies (structured clone), and so
   * is `what`. Asked one after the other, they are begun in that order.
   * @param answer gives what the thread needs to know meanwhile, which waits for it; must not throw
   */
  ask(what: unknown, answer?: (question: unknown) => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#last += 1;
      this.#worker.postMessage({ id: this.#last, what } satisfies Request);
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(this.#last, { resolve, reject, answer });
    });
  }

  /** Calls back with what the thread says of this by itself. */
  listen(about: number, listener: (notice: unknown) => void): void {
    this.#listeners.set(about, listener);
  }

  unlisten(about: number): void {
    this.#listeners.delete(about);
  }

  #take(reply: Reply): void {
    if ('about' in reply) {
      this.#listeners.get(reply.about)?.(reply.notice);
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    if ('question' in reply) {
      this.#answers.postMessage(waiting.answer?.(reply.question));
      Atomics.store(this.#answered, 0, 1);
      Atomics.notify(this.#answered, 0);
      return;
    }
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if ('error' in reply) waiting.reject(toError(reply.error));
    else waiting.resolve(reply.value);
  }
}

function lose(name: string, cause: unknown): void {
  const error = new Error(`the thread of the ${name} has ended, and this process with it`, { cause });
  // Nobody catches it: what waits for the thread waits for ever.
  setImmediate(() => {
    throw Object.assign(error, { code: threadLostCode });
  });
}

/** What a request can do beside its work, while it is worked on. */
export interface Asked {
  /** Gives what the asking thread answers, for which this one stops. */
  question(what: unknown): unknown;
}

/**
 * Makes this thread one that is asked. `work` is called for each request in the order in which they were asked, and may be
 * under way for several where it awaits anything.
 */
export function serveThread(work: (what: unknown, asked: Asked) => unknown): void {
  const port = requirePort();
  const { answers, answered } = workerData as Given;
  const question = (id: number, what: unknown): unknown => {
    send({ id, question: what });
    Atomics.wait(answered, 0, 0);
    Atomics.store(answered, 0, 0);
    return receiveMessageOnPort(answers)?.message;
  };
  const handle = async ({ id, what }: Request): Promise<void> => {
    try {
      send({ id, value: await work(what, { question: (it) => question(id, it) }) });
    } catch (error) {
      send({ id, error: fromError(error) });
    }
  };
  port.on('message', (request: Request) => void handle(request));
}

/** From a thread that is asked: tells the one that asks something by itself. */
export function notify(about: number, notice: unknown): void {
  send({ about, notice });
}

function send(reply: Reply): void {
  requirePort().postMessage(reply);
}

function requirePort(): MessagePort {
  if (parentPort === null) throw new TypeError('this module runs in a thread of its own');
  return parentPort;
}

/** An error as it goes between threads: a clone of one keeps neither its class nor its own members. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** With what CscError has, where it is one; else such members as node:sqlite gives its errors. */
  readonly members: Readonly<Record<string, unknown>>;
  readonly isCsc: boolean;
  readonly cause: SentError | undefined;
}

const memberNames = ['code', 'errcode', 'errstr', 'retryAfterMs', 'isLasting', 'faults', 'executionId'];

/** Makes of an error what can be sent to another thread. */
export function fromError(error: unknown): SentError {
  if (!(error instanceof Error))
    return {
      ...{ name: 'Error', message: String(error), stack: undefined },
      members: {},
      isCsc: false,
      cause: undefined,
    };
  const { name, message, stack, cause } = error;
  const entries = Object.entries(error).filter(
    ([key, value]) => memberNames.includes(key) && value !== undefined,
  );
  const sent = cause === undefined ? undefined : fromError(cause);
  return {
    name,
    message,
    stack,
    members: Object.fromEntries(entries),
    isCsc: isCscError(error),
    cause: sent,
  };
}

/** The error again that `fromError` was given. */
export function toError({ name, message, stack, members, isCsc, cause }: SentError): Error {
  const why = cause === undefined ? {} : { cause: toError(cause) };
  const { code, ...options } = members as { code: CscError['code'] };
  const error = isCsc ? new CscError(code, message, { ...options, ...why }) : new Error(message, why);
  if (!isCsc) Object.assign(error, members, { name });
  if (stack !== undefined) error.stack = stack;
  return error;
}
