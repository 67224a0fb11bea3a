import { existsSync, statSync } from 'node:fs';
import { envelopesOf } from '@csc-fleet/common/dsse';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { type GenuineReceipt, type ReceiptTexts, verifyReceiptFor } from '@csc-fleet/common/evidence';
import { readBoundedFile } from '@csc-fleet/common/files';
import { parseIdentity } from '@csc-fleet/common/identity';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import type { GateOptions } from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { note, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { describeFaults, type EvidenceFault } from './describe-faults.ts';
import { findReceipts } from './found-receipts.ts';
import { type RingFor, readGivenTrust } from './trust.ts';

export interface ExportOptions extends GateOptions {
  readonly format: 'dsse' | 'json';
  readonly out?: string;
  /** Whose executors count, of receipts in files. Absent: those of one. */
  readonly trustDomain?: readonly string[];
}

/** A receipt that was verified, as it is in its executor's chain, and its text. */
interface Verified {
  readonly name: string;
  readonly chained: ReceiptV02;
  readonly chainedJson: Uint8Array;
}

/** Writes what was named, one JSON document a line. Resolves to 0, or 1 where some of it could not be given. */
export async function exportReceipts(what: readonly string[], options: ExportOptions): Promise<number> {
  const lines: string[] = [];
  const left: EvidenceFault[] = [];
  for await (const verified of readNamed(what, options)) {
    const own = toLines(verified, options.format);
    if ('kind' in own) left.push(own);
    else lines.push(...own);
  }
  for (const line of describeFaults(left)) note(plainLine(`csc: ${line}`));
  const text = lines.map((line) => `${line}\n`).join('');
  if (lines.length > 0)
    await (options.out === undefined ? writeOut(text) : writeFileWhole(options.out, text));
  return left.length === 0 && lines.length > 0 ? exitCodes.ok : exitCodes.no;
}

function toLines(
  { name, chained, chainedJson }: Verified,
  format: 'dsse' | 'json',
): readonly string[] | EvidenceFault {
  if (format === 'json') return [Buffer.from(chainedJson).toString('utf8')];
  try {
    return envelopesOf(chained).map((envelope) => JSON.stringify(envelope));
  } catch (error) {
    if (!isCscError(error, 'RECEIPT_INVALID')) throw error;
    return {
      kind: 'left out',
      message: `${name}: ${error.message}`,
      receipt: { name, why: error.message },
    };
  }
}

async function* readNamed(what: readonly string[], options: ExportOptions): AsyncGenerator<Verified> {
  const files = what.filter((it) => existsSync(it));
  if (files.length > 0) {
    const trust = { ringFor: readGivenTrust(options), trustDomains: options.trustDomain };
    let fleet: string | undefined;
    for (const path of files)
      for await (const { owner, ...verified } of readFiles(path, trust)) {
        // Statements name the executor alone, and each fleet may have one of that name.
        const domain = parseIdentity(owner ?? '')?.trustDomain;
        fleet ??= domain;
        if (options.trustDomain === undefined && domain !== undefined && domain !== fleet)
          throw severalFleets(verified.name, [fleet ?? '', domain]);
        yield verified;
      }
  }
  const executions = what.filter((it) => !existsSync(it));
  if (executions.length === 0) return;
  using client = connectGate(options, await identify(options));
  for (const execution of executions) {
    const { chained, receiptJson, originalJson } = await client.getReceipt(
      await resolveExecution(client, execution),
    );
    const chainedJson = originalJson.length > 0 ? originalJson : receiptJson;
    yield { name: `execution ${execution}`, ...inChain(chained, execution), chainedJson };
  }
}

function inChain(chained: ReceiptV02 | undefined, name: string): Pick<Verified, 'chained'> {
  if (chained !== undefined) return { chained };
  const message = `${name} has no receipt that stands in an executor’s chain: a gate’s own, or a v0.1 one without its original`;
  throw new CscError('RECEIPT_INVALID', message);
}

function severalFleets(name: string, domains: readonly string[]): CscError {
  const message = `${name}: the receipts are of executors of several trust domains, ${domains.join(' and ')}: say by --trust-domain which of them count`;
  return new CscError('RECEIPT_INVALID', message);
}

interface FileTrust {
  readonly ringFor: RingFor;
  readonly trustDomains: readonly string[] | undefined;
}

/** A receipt of a file, and whose key has signed it. */
type Opened = Verified & Pick<GenuineReceipt, 'owner'>;

async function* readFiles(path: string, trust: FileTrust): AsyncGenerator<Opened> {
  if (statSync(path).isDirectory()) {
    for await (const { name, receiptJson } of findReceipts(path)) yield open(name, receiptJson, trust);
    return;
  }
  yield open(path, readBoundedFile(path, { maxBytes: artifactBytes.receipt }).bytes, trust);
}

function open(name: string, receiptJson: Uint8Array, { ringFor, trustDomains }: FileTrust): Opened {
  const texts: ReceiptTexts = { receiptJson };
  const { chained, owner } = verifyReceiptFor({ trustDomains }, texts, ringFor(texts));
  return { name, ...inChain(chained, name), chainedJson: receiptJson, owner };
}
