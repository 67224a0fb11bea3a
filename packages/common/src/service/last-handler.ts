import { randomBytes } from 'node:crypto';
import { exitCodes } from '../errors/index.ts';
import type { LogFields } from './log-fields.ts';
import type { LogMessage } from './log-messages.ts';
import { type Owner, takeOwner } from './owner.ts';

/** How a service goes on, or does not, after an exception that nobody caught. */
export interface LastHandlerOptions {
  /** Must hold nothing secret; is given the error, its id and whom it was laid to. */
  log(fields: LogFields, message: LogMessage<'error'>): void;
  /** Stops in order before the process ends: at most `stopMs` are waited for it. */
  stop(): Promise<unknown>;
}

/** What a service ends with that can no longer answer for itself; it is to be started again. */
export const unsoundExitCode = exitCodes.internal;

/** More exceptions than this within a minute are no accident of one input any more. */
export const mostUncaught = 10;
const withinMs = 60_000;
const stopMs = 5_000;
/** What an owner that is ended has to end. It is then taken for stuck: nothing but a new start gives its receipt. */
const endMs = 30_000;

/**
 * The last handler of a service. An exception that nobody caught is logged under an id, ends the run or the call that it
 * belongs to where that is known (`asOwner`), and nothing else. The process itself ends, after `stop` and with
 * `unsoundExitCode`, with the eleventh within a minute, with an owner that cannot be ended, and at once where memory
 * has run out or Node's own assertions fail: then nothing it does can be relied on.
 * @returns takes the handler away again
 */
export function installLastHandler(options: LastHandlerOptions): () => void {
  const { log, stop } = options;
  const recent: number[] = [];
  let ending = false;
  const giveUp = (why: string): void => {
    if (ending) return;
    ending = true;
    attempt(() => log({ why }, 'ending, to be started again'));
    const late = setTimeout(() => process.exit(unsoundExitCode), stopMs);
    const done = (): void => {
      clearTimeout(late);
      process.exit(unsoundExitCode);
    };
    Promise.resolve().then(stop).then(done, done);
  };
  const endOwner = (owner: Owner, errorId: string): void => {
    if (!attempt(() => owner.end(errorId))) giveUp('what failed could not be ended');
    if (owner.over === undefined) return;
    const stuck = setTimeout(() => giveUp('what failed does not end'), endMs).unref();
    const done = (): void => clearTimeout(stuck);
    owner.over.then(done, done);
  };
  const onUncaught = (error: unknown, origin: string): void => {
    if (isStoreLost(error)) {
      attempt(() => log({ error: error.cause, why: error.message }, 'ending, to be started again'));
      process.exit(unsoundExitCode);
      return;
    }
    const owner = takeOwner();
    const error_id = randomBytes(6).toString('hex');
    const whose = owner?.name ?? 'unknown';
    attempt(() => log({ error, error_id, origin, owner: whose }, 'an exception that nobody caught'));
    if (isUnsound(error)) process.exit(unsoundExitCode);
    else if (isTooMany(recent, performance.now())) giveUp('too many exceptions that nobody caught');
    else if (owner !== undefined) endOwner(owner, error_id);
  };
  process.on('uncaughtException', onUncaught);
  return () => {
    process.off('uncaughtException', onUncaught);
  };
}

/** Of the error with which a process ends whose disk has refused what it wrote. */
const storeLostCode = 'ERR_CSC_STORE_LOST';

/** Ends this process, as nothing that it goes on with can be relied on: its next start makes up for what was under way. */
export function endUnsound(cause: Error): void {
  const message = `${cause.message}; what the disk has of the last writes nobody knows`;
  // Nobody catches it: what waits for the disk waits for ever.
  setImmediate(() => {
    throw Object.assign(new Error(message, { cause }), { code: storeLostCode });
  });
}

function isStoreLost(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === storeLostCode;
}

const unsoundCodes: ReadonlySet<unknown> = new Set([
  'ENOMEM',
  'ERR_INTERNAL_ASSERTION',
  'ERR_MEMORY_ALLOCATION_FAILED',
  'ERR_WORKER_OUT_OF_MEMORY',
]);

/** Whether an error says that the process is no longer to be relied on. That the heap is full ends it without one. */
export function isUnsound(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('code' in error && unsoundCodes.has(error.code)) return true;
  return error instanceof RangeError && error.message === 'Array buffer allocation failed';
}

/** Counts one more at a time in milliseconds; says whether that is one too many. Changes `recent`. */
export function isTooMany(recent: number[], now: number): boolean {
  recent.push(now);
  while (recent.length > 0 && now - (recent[0] ?? now) > withinMs) recent.shift();
  return recent.length > mostUncaught;
}

// False where it threw. An error in here would end the process without a word (exit code 7).
function attempt(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
