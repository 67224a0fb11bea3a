import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { isCscError } from '@csc-fleet/common/errors';
import { checkWritableDirectory } from '@csc-fleet/common/files';
import { endingSoon, tellEnding } from '@csc-fleet/common/identity';
import { TlsSource } from '@csc-fleet/common/rpc';
import type { Check } from '@csc-fleet/sandbox/host';
import { leastRoom } from '../disk/index.ts';
import type { ExecutorConfig } from './config.ts';

type Place = Pick<ExecutorConfig, 'stateDir' | 'tls'>;

/**
 * What csc doctor says of where an executor keeps its state, and of the certificate that the gate knows it by: without either
 * it takes nothing, however able the sandbox is. What whoever asks may not look at is said to be not known.
 */
export function checkPlace(config: Place): Check[] {
  return [
    known('state-dir', () => stateDirCheck(config)),
    known('certificate', () => certificateCheck(config)),
  ];
}

function stateDirCheck({ stateDir }: Place): Omit<Check, 'name'> {
  checkWritableDirectory(stateDir, `state_dir ${stateDir}`);
  const { bavail, bsize } = statfsSync(whatIsThere(stateDir));
  const free = bavail * bsize;
  const detail = `state_dir ${stateDir} can be written, and its disk has ${Math.floor(free / mebibyte)} MiB left`;
  if (free >= leastRoom) return { ok: true, detail };
  return { ok: false, detail: `${detail}: nothing new is taken there`, remedy: 'make room on that disk' };
}

function certificateCheck({ tls }: Place): Omit<Check, 'name'> {
  // Throws for one that does not count now, by this host's clock.
  const source = new TlsSource(tls);
  const [soon] = endingSoon(source.certificates(), new Date());
  if (soon !== undefined) return { ok: true, detail: tellEnding(soon) };
  return { ok: true, detail: `${tls.cert} counts until ${source.material.own.certificate.validTo}` };
}

const mebibyte = 1024 * 1024;
const remedies: Readonly<Record<string, string>> = {
  FILE_UNWRITABLE: 'mend that, or run this as whom the executor runs as',
  CREDENTIALS_INVALID: 'is the clock of this host right (timedatectl)? Else have the certificate made anew',
};

function known(name: string, check: () => Omit<Check, 'name'>): Check {
  try {
    return { name, ...check() };
  } catch (error) {
    if (!isCscError(error)) throw error;
    const { code, message } = error;
    if (code === 'FILE_UNREADABLE')
      return { name, ok: true, detail: `not known: ${message}`, remedy: asItself };
    const remedy = remedies[code];
    return { name, ok: false, detail: message, ...(remedy === undefined ? {} : { remedy }) };
  }
}

const asItself = 'run it as root, or as whom the executor runs as';

function whatIsThere(path: string): string {
  let there = path;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  return there;
}
