import { withoutSecrets } from '@csc-fleet/common/errors';
import { pino } from 'pino';
import type { Log } from './log.ts';

/** The log of a service: JSON lines on stderr, each with the executor's id. */
export function createJsonLog(executorId: string): Log {
  const options = {
    base: { executor: executorId },
    serializers: { error: pino.stdSerializers.err },
    hooks: { streamWrite: withoutSecrets },
  };
  const logger = pino(options, pino.destination({ dest: 2, sync: true }));
  return {
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  };
}
