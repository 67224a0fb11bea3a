import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '../errors/index.ts';
import { readBoundedFile, replaceFile } from '../files/index.ts';
import { isAlive, processIdentity } from './process-identity.ts';
import type { ReloadOutcome } from './upkeep.ts';

/** What a running service leaves in its directory for who has it reload. */
export interface ServiceRecord {
  /** As processIdentity has it. */
  readonly process: string;
  /** Absent: it has reloaded nothing since it started. */
  readonly last?: ReloadOutcome;
}

const maxBytes = 256 * 1024;
const fileIn = (directory: string): string => join(directory, 'service.json');

/** Writes the record of this process, and then each outcome that it is told. Where it cannot be written, `onTrouble` is told. */
export function keepServiceRecord(
  directory: string,
  onTrouble: (error: unknown) => void,
): (outcome: ReloadOutcome) => void {
  const self = processIdentity(process.pid) ?? String(process.pid);
  const write = (record: ServiceRecord): void => {
    try {
      replaceFile(fileIn(directory), `${JSON.stringify(record, undefined, 2)}\n`, 0o600);
    } catch (error) {
      onTrouble(error);
    }
  };
  write({ process: self });
  return (last) => write({ process: self, last });
}

/** The record of the service that runs with a directory. Throws CONFIG_INVALID where none does. */
export function readServiceRecord(directory: string): ServiceRecord {
  const file = fileIn(directory);
  if (existsSync(file)) {
    const record = JSON.parse(readBoundedFile(file, { maxBytes }).bytes.toString('utf8')) as ServiceRecord;
    if (typeof record.process === 'string' && isAlive(record.process)) return record;
  }
  throw new CscError('CONFIG_INVALID', `no service runs with ${directory}: there is nothing to reload`);
}
