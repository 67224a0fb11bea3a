/** Where a process says what happens to it. pino's logger is one. Never a ticket, a token or a value in it. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says nothing: for `csc run` and tests. */
export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} };
