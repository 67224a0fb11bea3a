import { existsSync } from 'node:fs';
import type { SeenChains, SeenReceipt } from '@csc-fleet/client';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import * as z from 'zod';
import { exclusively } from '../files/exclusively.ts';
import { writeFileWhole } from '../files/write-file.ts';

const maxSeenBytes = 16 * 1024 * 1024;

const seenSchema = z.record(
  z.string(),
  z.array(
    z.strictObject({
      epoch: z.string(),
      sequence: z.int(),
      sha256: z.string(),
      previousSha256: z.string().exactOptional(),
      signedAt: z.string(),
    }),
  ),
);

/**
 * What was met of executors' chains, in a file. Where it cannot be written, what is met counts in this process alone: a
 * receipt is no worse for it.
 * @param notKept told of that
 */
export function openSeenChains(file: () => string, notKept: (error: CscError) => void): SeenChains {
  const fresh = new Map<string, readonly SeenReceipt[]>();
  return {
    exclusively: (act) => exclusively(file(), act),
    receiptsOf: async (owner) => fresh.get(owner) ?? readSeen(file())[owner] ?? [],
    keep: async (owner, receipts) => {
      fresh.set(owner, receipts);
      try {
        writeFileWhole(file(), JSON.stringify({ ...readSeen(file()), [owner]: receipts }));
        // What another process meets meanwhile is in the file.
        fresh.delete(owner);
      } catch (error) {
        if (!(error instanceof CscError)) throw error;
        notKept(error);
      }
    },
  };
}

function readSeen(file: string): Record<string, SeenReceipt[]> {
  if (!existsSync(file)) return {};
  try {
    return seenSchema.parse(JSON.parse(readBoundedFile(file, { maxBytes: maxSeenBytes }).bytes.toString()));
  } catch (cause) {
    const message = `${file} does not hold what was met of executors' chains: move it away to begin anew`;
    throw new CscError('FILE_UNREADABLE', message, { cause });
  }
}
