import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { createKeyRing, type KeyRing, readKeyRing, readPublicKey } from '@csc-fleet/common/crypto';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import {
  type Chain,
  type ChainEntry,
  certifiedKey,
  type FleetCa,
  parseCertificates,
  type ReceiptTexts,
  verifyReceiptFor,
  walkChains,
} from '@csc-fleet/common/evidence';
import { makeDirectory, readBoundedFile, readPem } from '@csc-fleet/common/files';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import type { ArchivedReceipt } from '@csc-fleet/executor/receipts';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const maxPemBytes = 1024 * 1024;

/** What receipts are verified with: exactly one of the three. */
export interface TrustOptions {
  readonly publicKey?: string;
  readonly keyId?: string;
  /** A key ring file. */
  readonly keys?: string;
  /** The fleet's CA, PEM. */
  readonly ca?: string;
}

/** The key ring for a receipt. Throws RECEIPT_INVALID where its certificates do not prove whose it is. */
type RingFor = (texts: ReceiptTexts) => KeyRing;

/** Adds the options that say which keys count. */
export function addTrustOptions(command: Command): Command {
  return command
    .option('--public-key <file>', 'Ed25519 public key: 32 raw bytes, or SPKI PEM')
    .option('--key-id <id>', 'the id that this key signs under')
    .option('--keys <file>', 'a key ring file, instead of the two above')
    .option('--ca <file>', 'the fleet’s CA, PEM: receipts bring certificates of their keys');
}

/** True where exactly one kind of trust is named. */
export function hasOneTrust({ publicKey, keyId, keys, ca }: TrustOptions): boolean {
  const one = publicKey !== undefined && keyId !== undefined;
  const half = (publicKey !== undefined || keyId !== undefined) && !one;
  return !half && [one, keys !== undefined, ca !== undefined].filter(Boolean).length === 1;
}

/** Reads the files that the options name. Throws FILE_UNREADABLE or KEY_INVALID. */
export function readTrust({ publicKey, keyId, keys, ca }: TrustOptions): RingFor {
  if (ca !== undefined) {
    const fleetCa = readFleetCa(ca);
    return (texts) => certifiedRing(texts, fleetCa);
  }
  const ring =
    keys === undefined
      ? createKeyRing([{ keyId: keyId ?? '', publicKey: readPublicKey(publicKey ?? '') }])
      : readKeyRing(keys);
  return () => ring;
}

function readFleetCa(path: string): FleetCa {
  const { bytes, origin } = readPem(path, '--ca', maxPemBytes);
  try {
    return parseCertificates(bytes, origin);
  } catch (cause) {
    if (!isCscError(cause, 'CONFIG_INVALID')) throw cause;
    throw new CscError('KEY_INVALID', cause.message, { cause });
  }
}

function certifiedRing(texts: ReceiptTexts, ca: FleetCa): KeyRing {
  const key = certifiedKey(texts, ca);
  if (key !== undefined) return createKeyRing([key]);
  const message =
    'the receipt brings no certificate of the key that it is signed with: verify it with --keys';
  throw new CscError('RECEIPT_INVALID', message);
}

const verifyHelp = `
DIR holds receipts as csc executor receipts export writes them, or files of STATE_DIR/receipts themselves; its
directories are looked through. Of each executor and epoch, numbers must follow one another, and each receipt must name
the one before it. A copy of a receipt, byte for byte, is that receipt, and no second one. What came before the first and after the last cannot be told from the receipts alone.

Exit codes: 0 all is well, 1 something is not, or cannot be read.

Examples:
  $ csc receipts verify exported --ca fleet-ca.pem
  $ csc receipts verify exported --keys host-1.json --json
`;

/** `csc receipts`: what an auditor does with receipts, without a gate and without the host. */
export function defineReceipts(command: Command): void {
  command.description('Look at receipts that executors have kept.');
  const verify = command
    .command('verify')
    .summary('verify receipts and the chains that they stand in')
    .description(
      'Verify every receipt of a directory, and that none is missing between them, nor another in its place.',
    )
    .argument('<dir>', 'exported receipts');
  addTrustOptions(verify).option('--json', 'print the result as JSON').addHelpText('after', verifyHelp);
  act<[string, TrustOptions & { readonly json?: true }]>(verify, (dir, options) => {
    if (!hasOneTrust(options))
      verify.error('error: --ca is needed, or --keys, or both of --public-key and --key-id');
    return verifyReceipts(dir, options);
  });
}

/** A receipt that does not count, or a chain that does not hold. */
interface Fault {
  readonly kind: string;
  readonly message: string;
  /** Of a receipt that does not verify: its file, and the rest of the message. */
  readonly receipt?: { readonly name: string; readonly why: string };
}

/** Verifies all receipts below a directory. Resolves to 0 or 1; throws where a file cannot be read. */
async function verifyReceipts(
  dir: string,
  options: TrustOptions & { readonly json?: true },
): Promise<number> {
  const ringFor = readTrust(options);
  const faults: Fault[] = [];
  const entries: ChainEntry[] = [];
  for await (const found of findReceipts(dir)) {
    const entry = openReceipt(found, ringFor);
    if ('kind' in entry) faults.push(entry);
    else entries.push(entry);
  }
  const chains = walkChains(entries);
  faults.push(...chains.flatMap((chain) => chain.faults));
  if (entries.length === 0 && faults.length === 0)
    throw new CscError('FILE_UNREADABLE', `there are no receipts in ${dir}`);
  if (options.json === true)
    await writeJson({
      valid: faults.length === 0,
      chains: chains.map(toJson),
      faults: faults.map(faultJson),
    });
  else await writeOut(describe(chains, faults));
  return faults.length === 0 ? exitCodes.ok : exitCodes.no;
}

interface FoundReceipt {
  readonly name: string;
  readonly receiptJson: Buffer;
  /** That its directory is called. */
  readonly epoch?: string;
}

async function* findReceipts(dir: string): AsyncGenerator<FoundReceipt> {
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

function openReceipt({ name, receiptJson, epoch }: FoundReceipt, ringFor: RingFor): ChainEntry | Fault {
  try {
    const { chained } = verifyReceiptFor({}, receiptJson, ringFor({ receiptJson }));
    if (chained === undefined)
      return { kind: 'unnumbered', message: `${name} is a v0.1 receipt, in no chain` };
    if (epoch !== undefined && chained.executor_epoch !== epoch) {
      const said = chained.executor_epoch ?? 'none';
      return { kind: 'epoch', message: `${name} lies among those of the epoch ${epoch}, and is of ${said}` };
    }
    return { name, receipt: chained, sha256: createHash('sha256').update(receiptJson).digest('hex') };
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    const kind = error.message.includes('certificate') ? 'certificate' : 'signature';
    return { kind, message: `${name}: ${error.message}`, receipt: { name, why: error.message } };
  }
}

function faultJson({ kind, message }: Fault): object {
  return { kind, message };
}

function toJson({ executor, epoch, first, last }: Chain): object {
  return { executor, epoch, first, last };
}

function describe(chains: readonly Chain[], faults: readonly Fault[]): string {
  const paint = createPaint(process.stdout);
  const title = faults.length === 0 ? paint(['green', 'bold'], 'VALID') : paint(['red', 'bold'], 'INVALID');
  const lines = [
    ...chains.map(
      ({ executor, epoch, first, last }) =>
        `executor ${executor}, epoch ${epoch}: receipts ${first} to ${last}`,
    ),
    ...describeFaults(faults, chains.length === 0),
  ];
  return `${title}\n${lines.map((line) => `  ${plainLine(line)}\n`).join('')}`;
}

// With the wrong key, every receipt has the same fault.
function describeFaults(faults: readonly Fault[], noneCounts: boolean): string[] {
  const groups = new Map<string, Fault[]>();
  for (const fault of faults) {
    const key = JSON.stringify([fault.kind, fault.receipt?.why ?? fault.message]);
    groups.set(key, [...(groups.get(key) ?? []), fault]);
  }
  const lines = [...groups.values()].flatMap((alike) => {
    const [first, last] = [alike[0]?.receipt, alike.at(-1)?.receipt];
    if (alike.length === 1 || first === undefined)
      return alike.map(({ kind, message }) => `${kind}: ${message}`);
    return [
      `${alike[0]?.kind}: ${alike.length} receipts, from ${first.name} to ${last?.name}, each: ${first.why}`,
    ];
  });
  const hint =
    'no receipt verifies: is what --ca, --keys or --public-key names of the executors of these receipts?';
  return noneCounts ? [...lines, hint] : lines;
}

const keptHelp = `
What an executor keeps of its receipts, read while it runs or not; nothing is changed. The owner of its state directory
may read them, and root.

Examples:
  $ csc executor receipts list --state-dir /var/lib/csc/executor
  $ csc executor receipts show EXECUTION --state-dir /var/lib/csc/executor
  $ csc executor receipts export exported --state-dir /var/lib/csc/executor    for csc receipts verify
`;

interface KeptOptions {
  readonly config?: string;
  readonly stateDir?: string;
  readonly json?: true;
}

/** `csc executor receipts`: what a host has kept. */
export function defineExecutorReceipts(executor: Command): void {
  const receipts = executor
    .command('receipts')
    .summary('list, show or export the receipts that this host keeps')
    .helpOption('-h, --help', 'show help')
    .description('List, show or export the receipts that this host keeps.')
    .addHelpText('after', keptHelp);
  const add = (name: string, summary: string): Command =>
    receipts
      .command(name)
      .summary(summary)
      .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
      .helpOption('-h, --help', 'show help')
      .option('--config <file>', 'the executor’s config file')
      .option('--state-dir <dir>', 'its state directory, where there is no config to read');
  // Commander gives --config to the first command that has one, too.
  const withConfig = (options: KeptOptions): KeptOptions => ({ ...executor.opts<KeptOptions>(), ...options });
  const list = add('list', 'list them, the oldest first').option('--json', 'print each as one line of JSON');
  act<[KeptOptions]>(list, (options) => listKept(withConfig(options)));
  const show = add('show', 'print one as it was signed').argument(
    '<execution>',
    'its execution’s id, or how that begins',
  );
  act<[string, KeptOptions]>(show, (id, options) => showKept(id, withConfig(options)));
  const out = add('export', 'write each into a file of its own').argument('<dir>', 'where to');
  act<[string, KeptOptions]>(out, (dir, options) => exportKept(dir, withConfig(options)));
}

/** Prints a line for each receipt that a host keeps. Resolves to 0. */
async function listKept(options: KeptOptions): Promise<number> {
  for (const { receipt } of await readKept(options)) {
    const { execution_id, sequence, executor_epoch, status, ended_at, contract_id } = receipt;
    if (options.json === true)
      await writeJson({ execution_id, sequence, executor_epoch, status, ended_at, contract_id });
    else await writeOut(`${plainLine(`${sequence}  ${ended_at}  ${status.padEnd(7)}  ${execution_id}`)}\n`);
  }
  return exitCodes.ok;
}

/** Prints the receipt of an execution. Resolves to 0. Throws EXECUTION_UNKNOWN. */
async function showKept(named: string, options: KeptOptions): Promise<number> {
  const found = new Map<string, Buffer>();
  for (const { receipt, receiptJson } of await readKept(options)) {
    const { execution_id: id = '' } = receipt;
    if (id === named || (named.length >= leastOfId && id.startsWith(named.toLowerCase())))
      found.set(id, Buffer.from(receiptJson));
  }
  const [one, another] = found.values();
  const receiptJson = found.get(named) ?? (another === undefined ? one : undefined);
  if (receiptJson !== undefined) {
    await writeOut(Buffer.concat([receiptJson, Buffer.from('\n')]));
    return exitCodes.ok;
  }
  const message =
    one === undefined
      ? `this host keeps no receipt of an execution ${named}`
      : `several executions begin with ${named}: give more of the id`;
  throw new CscError('EXECUTION_UNKNOWN', message);
}

// As much of an id as gates want, too.
const leastOfId = 4;

/** Writes each receipt to DIR/EPOCH/NUMBER.json. Resolves to 0. */
async function exportKept(dir: string, options: KeptOptions): Promise<number> {
  let count = 0;
  for (const { receipt, receiptJson } of await readKept(options)) {
    const path = join(dir, ...placeOf(receipt));
    makeDirectory(dirname(path));
    writeFileWhole(path, receiptJson);
    count += 1;
  }
  await writeOut(`exported ${count} receipts to ${plainLine(dir)}\n`);
  return exitCodes.ok;
}

function placeOf({ executor_epoch: epoch = 'none', sequence = 0 }: ReceiptV02): [string, string] {
  return [epoch, `${String(sequence).padStart(12, '0')}.json`];
}

async function readKept(options: KeptOptions): Promise<Generator<ArchivedReceipt, void>> {
  const { archiveDirectory, readArchive } = await import('@csc-fleet/executor/receipts');
  return readArchive(join(await stateDirOf(options), archiveDirectory));
}

/** The state directory that is meant. Throws CONFIG_INVALID where none is, and what the config's reader does. */
export async function stateDirOf({
  config,
  stateDir,
}: Pick<KeptOptions, 'config' | 'stateDir'>): Promise<string> {
  if (stateDir !== undefined) return stateDir;
  if (config === undefined) throw new CscError('CONFIG_INVALID', 'give --config FILE or --state-dir DIR');
  const { readExecutorConfig } = await import('@csc-fleet/executor/config');
  return readExecutorConfig(config).stateDir;
}
