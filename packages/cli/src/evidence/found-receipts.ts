import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';

/** A receipt in a file of exported ones, or of a host's archive. */
export interface FoundReceipt {
  readonly name: string;
  readonly receiptJson: Buffer;
  /** That its directory is called. */
  readonly epoch?: string;
}

/** All receipts below a directory. Throws FILE_UNREADABLE. */
export async function* findReceipts(dir: string): AsyncGenerator<FoundReceipt> {
  const { readRecords } = await import('@csc-fleet/executor/receipts');
  for (const path of listFiles(dir)) {
    const name = relative(dir, path);
    const epoch = /^[0-9a-f]{32}$/.exec(basename(dirname(path)))?.[0];
    if (path.endsWith('.json')) {
      const { bytes } = readBoundedFile(path, { maxBytes: artifactBytes.receipt });
      yield { name, receiptJson: bytes, ...(epoch === undefined ? {} : { epoch }) };
    }
    if (!path.endsWith('.log')) continue;
    let count = 0;
    for (const { bytes } of readRecords(path)) {
      count += 1;
      yield { name: `${name} (${count})`, receiptJson: bytes };
    }
  }
}

function listFiles(dir: string): string[] {
  try {
    if (!statSync(dir).isDirectory()) throw new Error('it is no directory');
    return readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((it) => it.isFile())
      .map((it) => join(it.parentPath, it.name))
      .sort();
  } catch (cause) {
    throw new CscError('FILE_UNREADABLE', `failed to read the directory ${dir}`, { cause });
  }
}
