import { withoutSecrets } from '@csc-fleet/common/errors';
import { type Logger, pino } from 'pino';

/** JSON lines on stderr. Errors are logged with their causes; no message of ours holds anything secret. */
export function createLog(): Logger {
  return pino(
    {
      name: 'csc-gate',
      base: { name: 'csc-gate', pid: process.pid },
      hooks: { streamWrite: withoutSecrets },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
