import type { LogFields } from './log-fields.ts';
import type { LogMessage } from './log-messages.ts';

/** Where a service says what happens to it. Never a ticket, a token or a value in it. */
export interface Log {
  info(fields: LogFields, message: LogMessage<'info'>): void;
  warn(fields: LogFields, message: LogMessage<'warn'>): void;
  error(fields: LogFields, message: LogMessage<'error'>): void;
}

export type LogLevel = 'error' | 'warn' | 'info';

/** Says nothing: for what is run without a log, and for tests. */
export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} };

/** The same log, each line of which is about one run. */
export function logOfRun(log: Log, executionId: string): Log {
  return {
    info: (fields, message) => log.info({ executionId, ...fields }, message),
    warn: (fields, message) => log.warn({ executionId, ...fields }, message),
    error: (fields, message) => log.error({ executionId, ...fields }, message),
  };
}

/** Lines of one text that are written in a minute; what is beyond them is counted. */
const mostAMinute = 100;
const minuteMs = 60_000;

/**
 * The same log, which a peer cannot fill a disk with: of one text no more than a hundred lines a minute, and then how
 * many were left out. Texts are the program's own, so that there are few.
 * @param now milliseconds that never go back
 */
export function sparingLog(log: Log, now: () => number = () => performance.now()): Log {
  const counts = new Map<string, number>();
  let since = now();

  function begin(): void {
    for (const [text, count] of counts)
      if (count > mostAMinute)
        log.warn({ leftOut: count - mostAMinute, text }, 'lines were left out of the log');
    counts.clear();
    since = now();
  }

  function mayWrite(text: string): boolean {
    if (now() - since >= minuteMs) begin();
    const count = (counts.get(text) ?? 0) + 1;
    counts.set(text, count);
    return count <= mostAMinute;
  }

  const spare =
    <Text extends LogMessage>(write: (fields: LogFields, text: Text) => void) =>
    (fields: LogFields, text: Text): void => {
      if (mayWrite(text)) write(fields, text);
    };
  return {
    info: spare<LogMessage<'info'>>((fields, text) => log.info(fields, text)),
    warn: spare<LogMessage<'warn'>>((fields, text) => log.warn(fields, text)),
    error: spare<LogMessage<'error'>>((fields, text) => log.error(fields, text)),
  };
}
