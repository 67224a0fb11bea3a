import { withoutSecrets } from '@csc-fleet/common/errors';
import type { Log } from '@csc-fleet/common/service';
import { pino } from 'pino';

/** What is less serious is not logged. */
export type LogLevel = 'error' | 'warn' | 'info';

/** A log whose level its owner may change meanwhile. */
export interface JsonLog extends Log {
  setLevel(level: LogLevel): void;
}

/** The log of a service: JSON lines on stderr, each with the executor's id. */
export function createJsonLog(executorId: string, level: LogLevel): JsonLog {
  const options = {
    level,
    base: { executor: executorId },
    serializers: { error: pino.stdSerializers.err },
    hooks: { streamWrite: withoutSecrets },
  };
  const logger = pino(options, pino.destination({ dest: 2, sync: true }));
  return {
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    setLevel: (next) => {
      logger.level = next;
    },
  };
}
