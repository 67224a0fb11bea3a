// Apart from `@csc-fleet/common/service`, so that only who writes a log of its own pays for loading pino.
import { pino } from 'pino';
import { escapeInvisible, isCscError, withoutSecrets } from '../errors/index.ts';
import type { Log, LogLevel } from './log.ts';
import { toWrittenName } from './log-fields.ts';

/** A log whose level its owner may change meanwhile. */
export interface JsonLog extends Log {
  setLevel(level: LogLevel): void;
  /** Whom to ask for the trace of a run that is open, by its execution id. Before it is called: no line has one. */
  traceBy(find: (executionId: string) => string | undefined): void;
}

/**
 * The log of a service: JSON lines on stderr, with the fields of log-fields.ts. An `error` among the fields is written with
 * its causes; what looks like a secret is taken out of every line, and what nobody would see of a peer's text is escaped.
 * @param fields what every line says of the service
 */
export function createJsonLog(level: LogLevel, fields: Readonly<Record<string, string | number>>): JsonLog {
  let traceOf: Parameters<JsonLog['traceBy']>[0] = () => undefined;
  const options = {
    level,
    base: toWritten(fields),
    formatters: { log: (given: object) => withTrace(toWritten(given), (id) => traceOf(id)) },
    hooks: { streamWrite: (line: string) => escapeInvisible(withoutSecrets(line)) },
  };
  const logger = pino(options, pino.destination({ dest: 2, sync: true }));
  return {
    info: (given, message) => logger.info(given, message),
    warn: (given, message) => logger.warn(given, message),
    error: (given, message) => logger.error(given, message),
    setLevel: (next) => {
      logger.level = next;
    },
    traceBy: (find) => {
      traceOf = find;
    },
  };
}

/** Fields as they are written: by the names of log-fields.ts, executors by theirs, errors as far as they help. */
export function toWritten(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      const written = toWrittenName(name);
      if (written === 'error') return [written, describeError(value)];
      return [written, written === 'executor_id' ? nameOf(value) : value];
    }),
  );
}

// A gate knows executors by their whole SPIFFE id.
function nameOf(value: unknown): unknown {
  return typeof value === 'string' ? value.slice(value.lastIndexOf('/') + 1) : value;
}

function withTrace(
  fields: Record<string, unknown>,
  traceOf: (executionId: string) => string | undefined,
): Record<string, unknown> {
  const { execution_id: executionId } = fields;
  const trace = typeof executionId === 'string' ? traceOf(executionId) : undefined;
  return trace === undefined ? fields : { ...fields, trace_id: trace };
}

const mostCauses = 8;

/**
 * What was said on purpose, as that the config names a file that is not there, is for its owner: reason and message. Only a
 * fault of ours has a stack, which says where it is.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const cause =
    error.cause === undefined || depth >= mostCauses ? {} : { cause: describeError(error.cause, depth + 1) };
  if (isCscError(error) && error.code !== 'INTERNAL') {
    const faults = error.faults.length === 0 ? {} : { faults: error.faults };
    return { reason: error.code, message: error.message, ...faults, ...cause };
  }
  const code: unknown = Reflect.get(error, 'code');
  const { name: type, message, stack } = error;
  // What the system says, as ENOENT, is no fault of ours either; it says what it was about.
  if (typeof code === 'string' && 'syscall' in error) return { reason: code, message, ...cause };
  return { type, ...(typeof code === 'string' ? { reason: code } : {}), message, stack, ...cause };
}
