import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import type { LogFiles, WalkedLog } from './walk-log.ts';

// A bundle of the longest entries.
const maxFileBytes = 1024 * 1024;

/** A log whose files are in a directory: a copy of a gate's `log/tree`. */
export function filesOfDirectory(directory: string): LogFiles {
  if (!existsSync(join(directory, 'checkpoint')))
    throw new CscError('FILE_UNREADABLE', `${directory} has no checkpoint: is it the tree of a log?`);
  return async (path) => {
    const file = join(directory, path);
    return existsSync(file) ? readBoundedFile(file, { maxBytes: maxFileBytes }).bytes : undefined;
  };
}

/** What was found, for people. */
export function describeWalk(walked: WalkedLog & { readonly evidence: string }, quorum: number): string[] {
  const { checkpoint, counts, cosigners, faults, pending, evidence } = walked;
  const witnesses = quorum === 0 ? '' : `, cosigned by ${cosigners} of the witnesses`;
  return [
    `log ${checkpoint.origin}: ${checkpoint.size} entries${witnesses}`,
    `  ${counts.inChains} receipts of the hosts, ${counts.ofGates} of the gate, as nothing ran, ${counts.beyond} of hosts or times that are not here`,
    ...(pending === 0 ? [] : [`  ${pending} receipts of the last minutes are not in it yet`]),
    ...faults.map(({ kind, message }) => `${kind}: ${message}`),
    ...(evidence === '' ? [] : [`evidence: ${evidence}`]),
  ];
}

/** The same, for programs. */
export function walkJson(walked: WalkedLog & { readonly evidence: string }): object {
  const { checkpoint, counts, cosigners, faults, pending, evidence } = walked;
  const { origin, size } = checkpoint;
  return {
    ...{ log: origin, size, cosigners, receipts: counts, pending, faults },
    ...(evidence === '' ? {} : { evidence }),
  };
}
