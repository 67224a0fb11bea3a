import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CscError } from '@csc-fleet/common/errors';

/** Held for as long as a process is the one executor of its state directory. */
export interface InstanceLock {
  release(): void;
}

/**
 * Makes this process the only executor of a state directory. The lock is SQLite's on a file of its own: the system
 * takes it back when the process ends, however it ends. Throws CONFIG_INVALID where another process holds it.
 */
export function lockStateDirectory(stateDir: string): InstanceLock {
  const database = new DatabaseSync(join(stateDir, 'instance.lock'), { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    const message = `another executor uses ${stateDir}: give each its own state_dir, or stop the other one`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
  return { release: () => database.close() };
}
