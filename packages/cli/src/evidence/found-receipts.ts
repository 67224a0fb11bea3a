import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import {
  type Chain,
  type ChainEntry,
  judgeTrustDomains,
  verifyReceiptFor,
  walkChains,
} from '@csc-fleet/common/evidence';
import { explainFileError, readBoundedFile } from '@csc-fleet/common/files';
import type { EvidenceFault } from './describe-faults.ts';
import type { RingFor } from './trust.ts';

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
    return readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((it) => it.isFile())
      .map((it) => join(it.parentPath, it.name))
      .sort();
  } catch (cause) {
    const why = explainFileError(cause);
    throw new CscError('FILE_UNREADABLE', `failed to read the directory ${dir}: ${why}`, { cause });
  }
}

/**
 * Verifies all receipts below a directory, each by itself. Throws FILE_UNREADABLE.
 * @param trustDomains whose executors count. Absent: any
 */
export async function openReceipts(
  dir: string,
  ringFor: RingFor,
  trustDomains?: readonly string[],
): Promise<{ readonly entries: ChainEntry[]; readonly faults: EvidenceFault[] }> {
  const faults: EvidenceFault[] = [];
  const entries: ChainEntry[] = [];
  for await (const found of findReceipts(dir)) {
    const entry = openReceipt(found, ringFor, trustDomains);
    if ('kind' in entry) faults.push(entry);
    else entries.push(entry);
  }
  return { entries, faults };
}

/** The chains of these receipts, and what is wrong with them: also that they are of several fleets, where none was said. */
export function judgeChains(
  entries: readonly ChainEntry[],
  trustDomains: readonly string[] | undefined,
): { readonly chains: readonly Chain[]; readonly faults: EvidenceFault[] } {
  const chains = walkChains(entries);
  const mixed = trustDomains === undefined ? judgeTrustDomains(chains) : undefined;
  return { chains, faults: [...chains.flatMap((it) => it.faults), ...(mixed === undefined ? [] : [mixed])] };
}

function openReceipt(
  { name, receiptJson, epoch }: FoundReceipt,
  ringFor: RingFor,
  trustDomains: readonly string[] | undefined,
): ChainEntry | EvidenceFault {
  try {
    const { chained, owner } = verifyReceiptFor({ trustDomains }, receiptJson, ringFor({ receiptJson }));
    if (chained === undefined)
      return { kind: 'unnumbered', message: `${name} is a v0.1 receipt, in no chain` };
    if (epoch !== undefined && chained.executor_epoch !== epoch) {
      const said = chained.executor_epoch ?? 'none';
      return { kind: 'epoch', message: `${name} lies among those of the epoch ${epoch}, and is of ${said}` };
    }
    const sha256 = createHash('sha256').update(receiptJson).digest('hex');
    return { name, receipt: chained, owner, sha256 };
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    const kind = error.message.includes('certificate') ? 'certificate' : 'signature';
    return { kind, message: `${name}: ${error.message}`, receipt: { name, why: error.message } };
  }
}
