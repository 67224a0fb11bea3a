import type { GateClient } from '@csc-fleet/client';
import { createSigner, readPrivateKey, type Signer } from '@csc-fleet/common/crypto';
import { artifactBytes, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { ownersKeyId, signResolution } from '@csc-fleet/common/evidence';
import { readBoundedFile } from '@csc-fleet/common/files';
import type { Absence, Execution } from '@csc-fleet/common/messages';
import type { ResolutionSubject } from '@csc-fleet/common/resolution';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append } from '../action/options.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { writeFileWhole } from '../files/write-file.ts';
import { localOwnerKey } from '../owners/repository-keys.ts';
import { executionJson, stateName } from '../show/messages-json.ts';
import { ask, canAsk } from '../terminal/ask.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
For an execution that is LOST, or runs on a host that does not come back. An owner signs that nobody waits for it any more: what
of it ran, nobody knows, and no receipt says otherwise: that cannot be taken back, and so it asks (--yes: it does not). Its submitter is told so (exit code 69), and its slot and limits are
free. A receipt that its host brings after all is kept beside it. What waits, or runs on a host that is there, is for csc cancel.

It takes a certificate with the role admin, and the keys that sign the files of the policy repository, which the gate does not
have. Where more than one owner must sign, the first writes what it has signed, and the last hands all of it in, within a day.

Examples:
  $ csc admin resolve EXECUTION --reason "its host burnt down" --gate gate.example:7443 --pki pki --as admin
  $ csc admin resolve EXECUTION --reason "…" --owner-key alice.key --out alice.json …
  $ csc admin resolve EXECUTION --reason "…" --owner-key bob.key --with alice.json …
`;

interface ResolveOptions extends GateOptions {
  readonly reason: string;
  readonly dir: string;
  readonly ownerKey: readonly string[];
  readonly with: readonly string[];
  readonly out?: string;
  readonly yes?: true;
  readonly json?: true;
}

export function defineResolve(command: Command): void {
  const resolve = command
    .command('resolve')
    .summary('end, by the word of the owners, what its host will never end')
    .argument('<execution>', 'its whole id');
  addGateOptions(resolve)
    .requiredOption('--reason <text>', 'why; its submitter is told')
    .option('--dir <dir>', 'the owners’ folder of the repository', 'policy-repository')
    .option('--owner-key <file>', 'an owner’s private key, repeatable; default: the local one', append, [])
    .option('--with <file>', 'what another owner has signed of it (--out), repeatable', append, [])
    .option('--out <file>', 'where to write what is signed, for the next owner, instead of handing it in')
    .option('--yes', 'do not ask')
    .option('--json', 'print the execution as JSON')
    .addHelpText('after', help);
  act<[string, ResolveOptions]>(resolve, resolveExecution);
}

/**
 * Asks, signs, and hands in. Resolves to 0, and to 1 where nobody agreed. Throws NOT_PERMITTED, EXECUTION_UNKNOWN,
 * RESOLUTION_INVALID.
 */
async function resolveExecution(executionId: string, options: ResolveOptions): Promise<number> {
  // Loaded here only: what else the owners sign needs no gRPC.
  const { connectGate } = await import('../connect/connect-gate.ts');
  using client = connectGate(options);
  const { execution, trustDomain, resolutionsJson, absence } = await client.resolve(executionId, []);
  if (execution === undefined) throw new CscError('INTERNAL', 'the gate’s answer has no execution');
  if (resolutionsJson.length > 0) return await show(execution, options, 'had been resolved before');
  note(plainLine(`csc: to be signed: ${describe(execution, executionId, absence)}`));
  if (options.yes !== true && !(await agrees())) {
    note('csc: nothing was signed; without a terminal, say --yes');
    return exitCodes.no;
  }
  const signed = signAll(toSubject(execution, executionId, trustDomain), options);
  if (options.out !== undefined) return keep(signed, options.out);
  return await handIn(client, executionId, signed, options);
}

function describe(execution: Execution, executionId: string, absence: Absence | undefined): string {
  const { contractSha256, executorId, principal, state, startedAt, intent, error } = execution;
  const at = (time: Date | undefined): string => (time === undefined ? '' : ` since ${time.toISOString()}`);
  const away = absence === undefined ? '' : `, which has been away${at(absence.since)}`;
  const where = executorId === '' ? '' : `, on ${executorId}${at(startedAt)}${away}`;
  const why = error === '' ? '' : `; the gate says: ${error}`;
  return `nobody waits any more for ${executionId}, ${stateName(state)}${where}, of ${principal}, contract ${contractSha256}, to ${intent}${why}`;
}

async function agrees(): Promise<boolean> {
  const question =
    'It cannot be taken back, and is LOST for good, also where its host comes back. Type yes: ';
  return canAsk() && (await ask(question)) === 'yes';
}

// What the gate says of it is what is signed: of another contract it would count nowhere.
function toSubject(
  { contractSha256, executorId }: Execution,
  executionId: string,
  trustDomain: string,
): ResolutionSubject {
  return {
    trust_domain: trustDomain,
    execution_id: executionId,
    contract_sha256: contractSha256,
    ...(executorId === '' ? {} : { executor_id: executorId }),
  };
}

function signAll(subject: ResolutionSubject, { reason, dir, ownerKey }: ResolveOptions): Buffer[] {
  const keys = ownerKey.length === 0 ? [localOwnerKey(dir, '--owner-key')] : ownerKey;
  return keys.map((path) => signResolution(subject, reason, readOwner(path), systemClock.now()));
}

function readOwner(path: string): Signer {
  const seed = readPrivateKey(path);
  return createSigner(seed, ownersKeyId(createSigner(seed, path).publicKey));
}

function keep(signed: readonly Buffer[], out: string): number {
  const [only, ...others] = signed;
  if (only === undefined || others.length > 0)
    throw new CscError('CONFIG_INVALID', '--out takes what one owner signs: give one --owner-key');
  writeFileWhole(out, `${only}\n`);
  note(`NOT IN EFFECT: it is signed, in ${out}; the next owner signs and hands in with --with ${out}`);
  return exitCodes.ok;
}

async function handIn(
  client: GateClient,
  executionId: string,
  signed: readonly Buffer[],
  options: ResolveOptions,
): Promise<number> {
  const others = options.with.map(
    (path) => readBoundedFile(path, { maxBytes: artifactBytes.resolution }).bytes,
  );
  const { execution } = await client.resolve(executionId, [...others, ...signed]);
  if (execution === undefined) throw new CscError('INTERNAL', 'the gate’s answer has no execution');
  return show(execution, options, 'is resolved');
}

async function show(execution: Execution, { json }: ResolveOptions, what: string): Promise<number> {
  if (json === true) await writeJson(executionJson(execution));
  else await writeOut(`${plainLine(`${execution.executionId} ${what}: ${execution.error}`)}\n`);
  return exitCodes.ok;
}
