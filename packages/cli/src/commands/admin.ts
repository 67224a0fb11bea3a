import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Approver, parseApprovers } from '@csc-fleet/common/approval';
import { toBase64 } from '@csc-fleet/common/crypto';
import { systemClock, toTimestamp } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { parseIssuers, parseRevoked, type Revocation, revocationKinds } from '@csc-fleet/common/owners';
import { bindingOf } from '@csc-fleet/common/policy';
import {
  type Files,
  hasDraft,
  readOwnersFiles,
  type Stop,
  stageStop,
  standingFiles,
} from '@csc-fleet/common/policy-repository';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { defineReload } from '../admin/reload.ts';
import { defineResolve } from '../admin/resolve.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { localSigners, publish, readSigningKey } from '../owners/repository-keys.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';

const help = `
Examples:
  $ csc admin freeze --reason "a key is lost" --end         nothing starts, and what runs is ended
  $ csc admin thaw
  $ csc admin revoke principal spiffe://csc.local/client/ci-7 --reason "left the team"
  $ csc admin revoke key alice-3f2a --reason stolen --end
  $ csc admin restore key alice-3f2a
  $ csc admin resolve EXECUTION --reason "host burnt down"     ends what is lost for good (csc admin resolve --help)
  $ csc admin prune --dry-run --gate gate.example:7443 --pki pki --as admin     what the gate would forget

Only that goes out, on top of what is published: what else is changed in the folder stays there, unpublished, and need
not even be readable.

What hosts are to stop is signed with the owners' keys, not at the gate, which cannot undo it: a gate that plays along passes it on within
seconds; one that does not can hold hosts on what they know for max_staleness_sec after the last csc policy publish; where
it keeps the online key itself, until max_owners_age_sec after the owners signed, or what they signed expires (90 days).
Where one signature is not enough, the others sign with csc policy sign, and csc policy publish publishes.
`;

interface SignOptions {
  readonly dir: string;
  readonly key?: string;
  readonly onlineKey?: string;
}

interface WhyOptions extends SignOptions {
  readonly reason: string;
  readonly end?: true;
}

type Kind = Revocation['kind'];

export function defineAdmin(command: Command): void {
  command.description('Stop a fleet, or take from it whom hosts run nothing for.').addHelpText('after', help);
  const freeze = why(command.command('freeze').summary('have hosts start nothing'));
  act<[WhyOptions]>(freeze, freezeFleet);
  act<[SignOptions]>(signed(command.command('thaw').summary('have hosts start things again')), thawFleet);
  const revoke = why(command.command('revoke').summary('have hosts run nothing for somebody or something'));
  act<[Kind, string, WhyOptions]>(about(revoke), revokeEntry);
  const restore = signed(command.command('restore').summary('take a revocation back'));
  act<[Kind, string, SignOptions]>(about(restore), restoreEntry);
  defineReload(command);
  defineResolve(command);
  const prune = command.command('prune').summary('have the gate forget what is over and due (retention)');
  addGateOptions(prune)
    .option('--dry-run', 'forget nothing, and say what would go')
    .option('--executor-config <file>', 'of the executor of this host, instead of a gate: its receipts')
    .option('--json', 'print JSON')
    .addHelpText('after', gateOptionsHelp);
  act<[PruneCommandOptions]>(prune, pruneGate);
}

interface PruneCommandOptions extends GateOptions {
  readonly executorConfig?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/** Has the gate forget what its config says, or tells what would go. Resolves to 0. Throws NOT_PERMITTED. */
async function pruneGate(options: PruneCommandOptions): Promise<number> {
  if (options.executorConfig !== undefined) return pruneHost(options.executorConfig, options);
  // Loaded here only: what the owners sign needs no gRPC.
  const { connectGate } = await import('../connect/connect-gate.ts');
  using client = connectGate(options);
  const dryRun = options.dryRun === true;
  const { outputs, outputBytes, records, receipts, keptOutputBytes } = await client.prune({ dryRun });
  const said = { dry_run: dryRun, outputs, output_bytes: outputBytes, records, receipts };
  if (options.json === true) await writeJson({ ...said, kept_output_bytes: keptOutputBytes });
  else {
    const verb = dryRun ? 'would go' : 'went';
    await writeOut(
      [
        `${verb}: the output of ${outputs} executions (${outputBytes} bytes)`,
        `${verb}: contract and events of ${records}, of which the receipts stay`,
        `${verb}: all of ${receipts}, with their receipts`,
        `${keptOutputBytes} bytes of output stay\n`,
      ].join('\n'),
    );
  }
  return exitCodes.ok;
}

// The executor does it by itself, every minute: what is due goes whoever removes it.
async function pruneHost(config: string, { dryRun, json }: PruneCommandOptions): Promise<number> {
  const { archiveDirectory, dueSegments } = await import('@csc-fleet/executor/receipts');
  const { readExecutorConfig } = await import('@csc-fleet/executor/config');
  const {
    stateDir,
    receiptRetentionDays: days,
    receiptRetentionBytes: maxBytes,
  } = readExecutorConfig(config);
  const directory = join(stateDir, archiveDirectory);
  const due = dueSegments(directory, systemClock.now(), { days, maxBytes });
  if (dryRun !== true) for (const { name } of due) rmSync(join(directory, name));
  if (json === true) await writeJson({ dry_run: dryRun === true, receipts: due });
  else if (due.length === 0) await writeOut('no receipts are due to go\n');
  else {
    const verb = dryRun === true ? 'would go' : 'went';
    await writeOut(
      due
        .map(({ name, bytes }) => `${verb}: the receipts of ${name.slice(0, 7)} (${bytes} bytes)\n`)
        .join(''),
    );
  }
  return exitCodes.ok;
}

function about(command: Command): Command {
  return command
    .addArgument(command.createArgument('<kind>', 'what it is about').choices(revocationKinds))
    .argument(
      '<id>',
      'a SPIFFE id, a key id or public key, an executor’s name, an execution id, a submission’s SHA-256, a profile’s name or an issuer’s URL',
    );
}

function signed(command: Command): Command {
  return command
    .option('--dir <dir>', 'the owners’ folder of the repository', 'policy-repository')
    .option('--key <file>', 'an owner’s private key; default: the local one')
    .option('--online-key <file>', 'the online private key; default: the local one');
}

function why(command: Command): Command {
  return signed(command)
    .requiredOption('--reason <text>', 'why; hosts and receipts say it')
    .option('--end', 'end what runs, too; otherwise it goes on to its end');
}

function freezeFleet({ reason, end, ...options }: WhyOptions): number {
  const frozen = { since: since(), reason, running: running(end) };
  return change(options, toFreeze({ frozen }));
}

function thawFleet(options: SignOptions): number {
  return change(options, toFreeze({}));
}

function toFreeze(content: object): Stop {
  return { name: 'freeze.yaml', next: () => toYaml({ freeze_version: 'csc.freeze.v0.1', ...content }) };
}

function revokeEntry(kind: Kind, id: string, { reason, end, ...options }: WhyOptions): number {
  const entry = { kind, id, since: since(), reason, running: running(end) };
  warnOfStranger(options.dir, kind, id);
  return changeRevoked(options, (entries) => [...entries.filter((it) => !isAbout(it, kind, id)), entry]);
}

// In an emergency it is done all the same: who is revoked may have been taken out of the files before.
function warnOfStranger(dir: string, kind: Kind, id: string): void {
  if (knows(standingFiles(dir), kind, id)) return;
  // What executors sign receipts with is in their certificates, and in no file of a repository.
  if (kind === 'key' && Buffer.from(id, 'base64').length === 32) {
    note(
      'no submitter or approver here has this key: it stops an executor that signs receipts with it, and nobody else',
    );
    return;
  }
  note(
    `WARNING: nothing in this repository is called that, so that this may stop nobody: ${kind} ${id}${expected[kind] ?? ''}`,
  );
}

const expected: Partial<Record<Kind, string>> = {
  principal: ' (a whole SPIFFE id, as bindings.yaml or approvers.yaml has it)',
  key: ' (a key_id of bindings.yaml or approvers.yaml, or the base64 of its public_key)',
  issuer: ' (its URL, as issuers.yaml has it)',
  profile: ' (the name of a profile)',
  submission:
    ' (its nonce, 32 hex digits, which is the idempotency key; or 64, as receipts have it in submission_sha256)',
};

// Of hosts and executions a repository knows nothing.
function knows(files: Files, kind: Kind, id: string): boolean {
  if (kind === 'host' || kind === 'execution') return true;
  if (kind === 'submission') return /^(?:[0-9a-f]{32}|[0-9a-f]{64})$/.test(id);
  const { bindings, policies } = readOwnersFiles(files);
  if (kind === 'profile') return policies.byName(id) !== undefined;
  if (kind === 'issuer') return issuersIn(files).includes(id);
  const { submitters = [] } = bindings;
  if (kind === 'principal')
    return (
      bindingOf(bindings, id) !== undefined ||
      submitters.some(({ principal }) => principal === id) ||
      approversIn(files).some(({ identity, also }) => identity === id || also.includes(id))
    );
  return [...submitters, ...approversIn(files)].some(({ keys }) =>
    keys.some((key) => key.keyId === id || toBase64(key.publicKey) === id),
  );
}

// Who is revoked is named all the same, so that a second word on it is no mistake.
function approversIn(files: Files): readonly Approver[] {
  const bytes = files.get('approvers.yaml');
  return bytes === undefined ? [] : orThrow(parseApprovers(bytes), 'POLICY_INVALID', 'approvers.yaml').all();
}

function issuersIn(files: Files): readonly string[] {
  const bytes = files.get('issuers.yaml');
  if (bytes === undefined) return [];
  return orThrow(parseIssuers(bytes), 'POLICY_INVALID', 'issuers.yaml').issuers.map(({ issuer }) => issuer);
}

function restoreEntry(kind: Kind, id: string, options: SignOptions): number {
  const revoked = revokedIn(standingFiles(options.dir).get('revoked.yaml'));
  if (!revoked.some((it) => isAbout(it, kind, id)))
    throw new CscError('CONFIG_INVALID', `no ${kind} of that name is revoked`);
  return changeRevoked(options, (entries) => entries.filter((it) => !isAbout(it, kind, id)));
}

function isAbout(entry: Revocation, kind: Kind, id: string): boolean {
  return entry.kind === kind && entry.id === id;
}

function since(): string {
  return toTimestamp(new Date());
}

function running(end: true | undefined): Revocation['running'] {
  return end === true ? 'end' : 'finish';
}

function changeRevoked(
  options: SignOptions,
  next: (entries: readonly Revocation[]) => readonly Revocation[],
): number {
  const text = (entries: readonly Revocation[]) =>
    toYaml({ revoked_version: 'csc.revoked.v0.1', revoked: [...next(entries)] });
  return change(options, { name: 'revoked.yaml', next: (before) => text(revokedIn(before)) });
}

function revokedIn(bytes: Uint8Array | undefined): readonly Revocation[] {
  return bytes === undefined ? [] : orThrow(parseRevoked(bytes), 'POLICY_INVALID', 'revoked.yaml').revoked;
}

// What YAML 1.1 and 1.2 read differently, as they do times, is refused where it stands plainly.
const quoted = { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN' } as const;

function toYaml(content: object): Uint8Array {
  return Buffer.from(stringify(content, quoted));
}

function change({ dir, key, onlineKey }: SignOptions, stop: Stop): number {
  stageStop(dir, stop, key === undefined ? localSigners(dir) : [readSigningKey(key)], new Date());
  if (onlineKey === undefined && !existsSync(join(dir, 'keys', 'online.key'))) {
    note(
      'NOT IN EFFECT: it is signed, and nothing of it counts before it is published: csc policy sign, where others must sign as well, then csc policy publish --online-key FILE',
    );
    return exitCodes.no;
  }
  publish(dir, note, onlineKey);
  if (hasDraft(dir))
    note(
      `what else is changed in ${join(dir, 'targets')} stays unpublished: csc policy sign, then csc policy publish`,
    );
  note('gates and hosts take it up when they look next (refresh_sec), or at once on SIGHUP of the gate');
  return exitCodes.ok;
}
