import { withoutSecrets } from '@csc-fleet/common/errors';
import { type Logger, pino } from 'pino';
import type { GateConfig } from './config.ts';

/** JSON lines on stderr. Errors are logged with their causes; no message of ours holds anything secret. */
export function createLog(level: GateConfig['logLevel']): Logger {
  return pino(
    {
      name: 'csc-gate',
      level,
      base: { name: 'csc-gate', pid: process.pid },
      hooks: { streamWrite: withoutSecrets },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
