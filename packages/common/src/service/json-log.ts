// Apart from `@csc-fleet/common/service`, so that only who writes a log of its own pays for loading pino.
import { pino } from 'pino';
import { escapeInvisible, withoutSecrets } from '../errors/index.ts';
import type { Log, LogLevel } from './log.ts';

/** A log whose level its owner may change meanwhile. */
export interface JsonLog extends Log {
  setLevel(level: LogLevel): void;
}

/**
 * The log of a service: JSON lines on stderr. An `error` among the fields is written with its causes; what looks like a
 * secret is taken out of every line, and what nobody would see of a peer's text is escaped.
 * @param fields what every line says of the service
 */
export function createJsonLog(level: LogLevel, fields: Readonly<Record<string, string | number>>): JsonLog {
  const options = {
    level,
    base: { ...fields },
    serializers: { error: pino.stdSerializers.err },
    hooks: { streamWrite: (line: string) => escapeInvisible(withoutSecrets(line)) },
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
