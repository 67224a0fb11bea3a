import { accessSync, constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { CscError } from '@csc-fleet/common/errors';
import type { Chain } from '@csc-fleet/common/evidence';
import { explainFileError, makeDirectory } from '@csc-fleet/common/files';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import type { ArchivedReceipt } from '@csc-fleet/executor/receipts';
import { type Command, Option } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { addGateOptions, addTokenOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { describeFaults, type EvidenceFault, faultJson } from '../evidence/describe-faults.ts';
import type { ExportOptions } from '../evidence/export.ts';
import { judgeChains, openReceipts } from '../evidence/found-receipts.ts';
import {
  addTrustOptions,
  describeDomains,
  readTrust,
  requireTrust,
  type TrustOptions,
  trustDomainOption,
} from '../evidence/trust.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { createPaint, plainLine } from '../terminal/text.ts';

const verifyHelp = `
DIR holds receipts as csc executor receipts export writes them, or files of STATE_DIR/receipts themselves; its
directories are looked through. Of each executor and epoch, numbers must follow one another, and each receipt must name
the one before it. A copy of a receipt, byte for byte, is that receipt, and no second one. All must be of executors of one trust domain, or of those that
--trust-domain names: where a CA certifies for several fleets, say yours. What came before the first and after the last cannot be told from the receipts alone.

Exit codes: 0 all is well, 1 something is not, or cannot be read.

Examples:
  $ csc receipts verify exported --fleet-ca fleet-ca.pem
  $ csc receipts verify exported --fleet-ca fleet-ca.pem --trust-domain fleet.example
  $ csc receipts verify exported --keys host-1.json --json
  $ csc receipts verify exported --fleet-ca fleet-ca.pem --keys host-1.json      of before its key was certified, too
`;

const exportHelp = `${gateOptionsHelp}
WHAT is an execution, whose receipt the gate is asked for, or a file or directory with receipts, which needs no gate but
--keys or --fleet-ca. Each receipt is verified before it is exported, and those of files must be of executors of one trust domain,
or of those that --trust-domain names. One JSON document a line:

  dsse   DSSE envelopes around in-toto statements, which the executor has signed with its receipt key: what its receipt
         says (urn:csc:predicate:execution:v0.1), and of runs that succeeded with artifacts SLSA provenance v1. Only where
         that was asked for when it was run (csc submit --attest, or attest_receipts: true on its host)
  json   the receipts themselves, as they stand in their executor’s chain

Exit codes: 0 exported, 1 not, or some were not attested and are left out (each is named).

Examples:
  $ csc receipts export 0197f3a2 --format dsse > run.intoto.jsonl
  $ csc receipts export exported --fleet-ca fleet-ca.pem --format dsse --out week.intoto.jsonl
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
    requireTrust(verify, options);
    return verifyReceipts(dir, options);
  });
  const out = command
    .command('export')
    .summary('give receipts to others: DSSE envelopes of in-toto statements, or as they are')
    .description('Export receipts for programs that know in-toto, DSSE or SLSA, or as they are.')
    .argument('<what...>', 'executions, or files and directories with receipts');
  addTokenOptions(addGateOptions(out))
    .addOption(new Option('--format <format>', 'what to write').choices(['dsse', 'json']).default('dsse'))
    .option(...trustDomainOption)
    .option('--out <file>', 'where to (default: stdout)')
    .addHelpText('after', exportHelp);
  act<[string[], ExportOptions]>(out, async (what, options) => {
    const { exportReceipts } = await import('../evidence/export.ts');
    return exportReceipts(what, options);
  });
}

/** Verifies all receipts below a directory. Resolves to 0 or 1; throws where a file cannot be read. */
async function verifyReceipts(
  dir: string,
  options: TrustOptions & { readonly json?: true },
): Promise<number> {
  const ringFor = readTrust(options);
  const { entries, faults } = await openReceipts(dir, ringFor, options.trustDomain);
  const { chains, faults: ofChains } = judgeChains(entries, options.trustDomain);
  faults.push(...ofChains);
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

function toJson({ executor, trustDomains, epoch, first, last }: Chain): object {
  return { executor, trust_domains: trustDomains, epoch, first, last };
}

function describe(chains: readonly Chain[], faults: readonly EvidenceFault[]): string {
  const paint = createPaint(process.stdout);
  const title = faults.length === 0 ? paint(['green', 'bold'], 'VALID') : paint(['red', 'bold'], 'INVALID');
  const lines = [
    ...chains.map(
      ({ executor, trustDomains, epoch, first, last }) =>
        `executor ${executor}, ${describeDomains(trustDomains)}, epoch ${epoch}: receipts ${first} to ${last}`,
    ),
    ...describeFaults(faults),
    ...(chains.length === 0 ? [noneCounts] : []),
  ];
  return `${title}\n${lines.map((line) => `  ${plainLine(line)}\n`).join('')}`;
}

const noneCounts =
  'no receipt verifies: is what --fleet-ca, --keys or --public-key names of the executors of these receipts?';

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
  const back = add(
    'give-up',
    'take back a receipt that the gate does not take, while the executor is stopped',
  )
    .argument('<execution>', 'its execution’s id, as csc doctor --config or the executor’s log has it')
    .requiredOption('--out <file>', 'where to write it: the gate does not get it any more')
    .addHelpText('after', giveUpHelp);
  act<[string, KeptOptions & { readonly out: string }]>(back, (id, options) =>
    giveUp(id, options.out, withConfig(options)),
  );
}

const giveUpHelp = `
A receipt that does not verify at the gate (a key that it does not know, a state directory of another host) is brought to
it again with each connection, for ever: mend that first, as the gate's log says why. A receipt that is given up is brought no more;
its execution stays LOST or open at the gate. It keeps its place in this host's chain, and csc audit verify misses it in
the log.

Examples:
  $ csc executor receipts give-up exec_01J… --out exec_01J.json --config /etc/csc/executor.yaml
`;

/** Writes the receipt to a file, and has it brought to the gate no more. Resolves to 0. */
async function giveUp(executionId: string, out: string, options: KeptOptions): Promise<number> {
  const { giveUpReceipt } = await import('@csc-fleet/executor/give-up');
  await giveUpReceipt(await stateDirOf(options), executionId, ({ receiptJson, originalJson }) => {
    const isProjection = originalJson !== undefined && originalJson.length > 0;
    // The form that stands in the chain.
    writeFileWhole(out, isProjection ? originalJson : receiptJson);
  });
  await writeOut(
    `given up: the gate is not brought the receipt of ${plainLine(executionId)} any more; it is in ${plainLine(out)}\n`,
  );
  return exitCodes.ok;
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

// Its executor makes the directory as it starts: where there is none, a host that keeps nothing must not be read out of it.
async function readKept(options: KeptOptions): Promise<Generator<ArchivedReceipt, void>> {
  const { archiveDirectory, readArchive } = await import('@csc-fleet/executor/receipts');
  const stateDir = await stateDirOf(options);
  const archive = join(stateDir, archiveDirectory);
  try {
    accessSync(archive, constants.R_OK | constants.X_OK);
  } catch (cause) {
    const isThere = !isMissing(cause);
    const why = isThere ? explainFileError(cause) : `no executor has kept receipts in ${stateDir}`;
    throw new CscError('FILE_UNREADABLE', `failed to read ${archive}: ${why}`, { cause });
  }
  return readArchive(archive);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
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
