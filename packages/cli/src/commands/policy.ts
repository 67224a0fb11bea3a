import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { defaultKeyId, generateKeyPair, readPublicKey } from '@csc-fleet/common/crypto';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { type Bindings, bindingOf, parseBindings, readPolicyFile } from '@csc-fleet/common/policy';
import {
  addFile,
  addFiles,
  defaultLifetimes,
  initRepository,
  isOwnersFile,
  type RepositoryKeys,
  type RepositoryStatus,
  removeFile,
  repositoryStatus,
  rotateRoot,
  signStaged,
  workspaceFiles,
} from '@csc-fleet/common/policy-repository';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append } from '../action/options.ts';
import { addCertificateOptions, type GateOptions } from '../connect/gate-options.ts';
import { checkLocalInit } from '../owners/check-init.ts';
import { localSigners, makeLocalRepository, publish, readSigningKey } from '../owners/repository-keys.ts';
import {
  addSubmitterTo,
  bindingsFor,
  describeSubmitter,
  type SubmitterEntry,
  whyByHand,
} from '../owners/submitters.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `
Examples:
  $ csc policy init --local --pki pki --as alice policies/*.yaml
                                                          one machine: all keys in one folder, published at once; and
                                                          alice's submission key, in bindings.yaml and for csc submit
  $ csc policy init --root-key a.pub --root-key b.pub --root-threshold 2 --online-key online.pub
  $ csc policy add policies/build.yaml bindings.yaml
  $ csc policy sign --key a.key                           each owner, on a machine of theirs
  $ csc policy publish --online-key online.key            by a timer, too: hosts go by when that was done last
  $ csc policy test policies --junit samples.xml          before they sign: what do profiles say of their samples,
  $ csc policy explain contract.json policies             of this contract, by which rules,
  $ csc policy diff policies new --corpus contracts       and of these, other than what they said?
  $ csc policy prove policies/build.yaml new/build.yaml   does the new one allow anything that the old one does not?
  $ csc policy lint policies                              which rules can never speak?
  $ csc policy rotate --root-key b.pub --root-key c.pub --root-threshold 2 --online-key online.pub

Hosts pin DIR/root.json, once, and fetch DIR/published, from a gate or from a directory. What is not signed by enough of
the keys that the root names, what is older than what a host has seen, and what has expired, counts nowhere.
`;

const keysHelp = `
Keys are files that csc keygen makes. Without --targets-key, those of the root sign the files too.
`;

interface At {
  readonly dir: string;
}

interface SignOptions extends At {
  readonly key?: string;
  readonly days: string;
}

interface KeyOptions extends At {
  readonly local?: true;
  readonly rootKey: readonly string[];
  readonly rootThreshold: string;
  readonly targetsKey: readonly string[];
  readonly targetsThreshold?: string;
  readonly onlineKey?: string;
}

type InitOptions = KeyOptions & Pick<GateOptions, 'pki' | 'as' | 'cert' | 'config'> & { principal?: string };

export function definePolicy(command: Command): void {
  command
    .description(
      'Keep the policy repository of a fleet: what its owners sign, and hosts verify by themselves.',
    )
    .addHelpText('after', help);
  const init = withKeys(
    command
      .command('init')
      .summary('make a repository')
      .argument('[files...]', 'with --local: what to publish at once'),
  ).option('--local', 'make all keys here: one machine without ceremony, where one folder holds everything');
  addCertificateOptions(init).option(
    '--principal <spiffe-id>',
    'with --local: whom you are, instead of those',
  );
  act<[string[], InitOptions]>(init, initialise);
  const adding = at(command.command('add').summary('put files into it, or others in their place')).argument(
    '<files...>',
    'NAME.yaml, NAME.samples.yaml, bindings.yaml, approvers.yaml, hosts.yaml, issuers.yaml, log.yaml, revoked.yaml, freeze.yaml',
  );
  act<[string[], At]>(adding, add);
  const remove = at(command.command('remove').summary('take files out of it')).argument(
    '<names...>',
    'as csc policy status shows them',
  );
  act<[string[], At]>(remove, removeFiles);
  const sign = at(command.command('sign').summary('sign what is new in it'))
    .option('--key <file>', 'an owner’s private key; default: the local ones')
    .option(
      '--days <n>',
      'how long the files are to be good for; what is published is signed anew in the second half of it',
      '90',
    );
  act<[SignOptions]>(sign, signFiles);
  const publish = at(
    command.command('publish').summary('publish what is signed, or refresh what is published'),
  ).option('--online-key <file>', 'the online private key; default: the local one');
  act<[At & { onlineKey?: string }]>(publish, publishFiles);
  const status = at(command.command('status').summary('say where it stands')).option(
    '--json',
    'print it as JSON',
  );
  act<[At & { json?: true }]>(status, showStatus);
  const rotate = withKeys(command.command('rotate').summary('put other keys into the root'));
  act<[KeyOptions]>(rotate, rotateKeys);
  defineJudging(command);
}

/** What owners ask of profiles before they sign them. Nothing of a repository is changed, and no gate is asked. */
function defineJudging(command: Command): void {
  const test = command
    .command('test')
    .summary('have profiles decide their samples')
    .argument(
      '[dir]',
      'folder of profiles and NAME.samples.yaml, or the owners’ folder of a repository',
      'policies',
    )
    .option('--junit <file>', 'write it as CI systems read it, too')
    .option('--json', 'JSON lines, one profile each');
  act<[string, { junit?: string; json?: true }]>(test, async (dir, options) => {
    const { testPolicies } = await import('../policy/test.ts');
    return testPolicies(dir, options);
  });
  const explain = command
    .command('explain')
    .summary('say by which rules a contract passes or fails')
    .argument('<contract>', 'contract, JSON; - is standard input')
    .argument('[policies]', 'a profile, or a folder of them', 'policies')
    .option('--profile <name>', 'of a folder, this one alone')
    .option('--allow-inline-code', 'as for a host whose owner lets inline code in')
    .option('--tty', 'as csc submit --tty asks for it: on a terminal')
    .option('--json', 'JSON lines, one profile each');
  act<[string, string, object]>(explain, async (contract, policies, options) => {
    const { explainContract } = await import('../policy/explain.ts');
    return explainContract(contract, policies, options);
  });
  const prove = command
    .command('prove')
    .summary('say whether a new profile allows anything that an old one does not')
    .argument('<old>', 'a profile')
    .argument('<new>', 'the same as it is to be')
    .option('--contract <file>', 'write the contract that it allows, where there is one')
    .option('--json', 'print it as JSON');
  act<[string, string, { contract?: string; json?: true }]>(prove, async (old, now, options) => {
    const { provePolicies } = await import('../policy/prove.ts');
    return provePolicies(old, now, options);
  });
  const lint = command
    .command('lint')
    .summary('name the rules of profiles, of issuers.yaml and of log.yaml, that can never speak')
    .argument(
      '[policies...]',
      'profiles, folders of them (and issuers.yaml and log.yaml beside), or one of those two; default: policies',
    )
    .option('--json', 'JSON lines, one rule each');
  act<[string[], { json?: true }]>(lint, async (paths, options) => {
    const { lintPolicies } = await import('../policy/lint.ts');
    return lintPolicies(paths.length === 0 ? ['policies'] : paths, options);
  });
  const diff = command
    .command('diff')
    .summary('show what is different between two profiles')
    .argument('<old>', 'a profile, or a folder of them')
    .argument('<new>', 'the same as it is to be')
    .option('--corpus <path>', 'contracts to ask both about: a folder of *.json, a *.jsonl, or one contract')
    .option('--json', 'JSON lines, one profile each');
  act<[string, string, { corpus?: string; json?: true }]>(diff, async (old, now, options) => {
    const { diffPolicies } = await import('../policy/diff.ts');
    return diffPolicies(old, now, options);
  });
}

function at(command: Command): Command {
  return command.option('--dir <dir>', 'the owners’ folder of the repository', 'policy-repository');
}

function withKeys(command: Command): Command {
  return at(command)
    .option('--root-key <file>', 'a public key of the root; repeatable', append, [])
    .option('--root-threshold <n>', 'how many of them must sign', '1')
    .option('--targets-key <file>', 'a public key that signs the files; repeatable', append, [])
    .option('--targets-threshold <n>', 'how many of them must sign')
    .option('--online-key <file>', 'the public key of who refreshes it')
    .addHelpText('after', keysHelp);
}

async function initialise(files: string[], options: InitOptions): Promise<number> {
  const { dir, local } = options;
  if (local === true) return initialiseLocally(files, options);
  if (files.length > 0) throw usage('files are published at once with --local only: csc policy add');
  if (asksForLogin(options)) throw usage('a login is made with --local only: csc login');
  initRepository(dir, readKeys(options), new Date());
  note(`${dir} waits for the signatures of its root: csc policy add, then csc policy sign --key KEY`);
  return exitCodes.ok;
}

/** Done again, it changes what is different, and nothing else. */
async function initialiseLocally(files: string[], options: InitOptions): Promise<number> {
  const { dir } = options;
  const principal = asksForLogin(options) ? await principalFor(options) : undefined;
  const bindings = files.find((file) => basename(file) === bindingsFile);
  const inFile = bindings ?? join(dir, 'targets', bindingsFile);
  const planned = principal === undefined ? undefined : await plannedSubmitter(principal);
  if (planned !== undefined && existsSync(inFile)) await checkAddable(inFile, planned);
  checkLocalInit({
    dir,
    files: readOwnersFiles(files),
    bindings: inFile,
    profiles: files
      .filter((file) => isProfile(repositoryName(file)))
      .map((it) => readPolicyFile(it).policy.name),
    ...(planned === undefined ? {} : { submitter: planned }),
  });
  const submitter = principal === undefined ? undefined : await makeLogin(principal);
  if (submitter !== undefined && bindings !== undefined) addLogin(bindings, submitter);
  if (makeLocalRepository(dir))
    note(
      `All keys of this repository are in ${join(dir, 'keys')}: whoever has that folder decides what hosts run.`,
    );
  addFiles(dir, readOwnersFiles(files));
  await sayStrangeClaims(dir);
  if (submitter !== undefined && bindings === undefined) bindLogin(dir, files, submitter);
  if (files.length === 0 && submitter === undefined) {
    note(`${dir} is made: csc policy add FILES --dir ${dir}, csc policy sign and csc policy publish`);
    return exitCodes.ok;
  }
  for (const signer of localSigners(dir)) signStaged(dir, signer, new Date());
  await publishFiles({ dir });
  sayWhoIsMissing(dir, submitter, inFile);
  return exitCodes.ok;
}

const bindingsFile = 'bindings.yaml';

function asksForLogin({ pki, as, cert, config, principal }: InitOptions): boolean {
  return [pki, as, cert, config, principal].some((it) => it !== undefined);
}

// Loaded there and here: whoever signs policies calls no gate.
async function principalFor(options: InitOptions): Promise<string> {
  const { principalOf } = await import('./login.ts');
  return principalOf(options);
}

async function plannedSubmitter(principal: string): Promise<SubmitterEntry> {
  const { keyForLogin } = await import('../connect/submitter.ts');
  const known = await keyForLogin(principal, process.env);
  if (known !== undefined) return { principal, keyId: known.keyId, publicKey: known.publicKey };
  const { publicKey } = generateKeyPair();
  return { principal, keyId: defaultKeyId('submitter', publicKey), publicKey, isStandIn: true };
}

// Throws CONFIG_INVALID where the entry is to be put there by hand, once it is printed.
async function checkAddable(file: string, submitter: SubmitterEntry): Promise<void> {
  const byHand = whyByHand(file, submitter);
  if (byHand === undefined) return;
  if (submitter.isStandIn !== true) await writeOut(describeSubmitter(submitter));
  throw new CscError('CONFIG_INVALID', byHand);
}

async function makeLogin(principal: string): Promise<SubmitterEntry> {
  const { describePlace, logIn } = await import('../connect/submitter.ts');
  const { signer, place } = await logIn(principal, process.env);
  note(plainLine(`csc submit signs for ${principal} with ${describePlace(place)}`));
  return { principal, keyId: signer.keyId, publicKey: signer.publicKey };
}

function addLogin(file: string, submitter: SubmitterEntry): void {
  if (addSubmitterTo(file, submitter))
    note(plainLine(`the key that signs for ${submitter.principal} is in ${file} now`));
}

// Into the repository's own bindings, which nobody has a copy of.
function bindLogin(dir: string, files: readonly string[], submitter: SubmitterEntry): void {
  const file = join(dir, 'targets', bindingsFile);
  if (existsSync(file)) {
    addLogin(file, submitter);
    return;
  }
  const profiles = files.map(repositoryName).filter(isProfile).map(profileName(dir));
  addFile(dir, bindingsFile, bindingsFor(submitter, profiles));
  const { principal } = submitter;
  note(plainLine(`${file} lets ${principal} use ${profiles.join(', ')}, and nobody else anything`));
}

function isProfile(name: string): boolean {
  return name.startsWith('policies/') && !name.endsWith('.samples.yaml');
}

function profileName(dir: string): (name: string) => string {
  return (name) => readPolicyFile(join(dir, 'targets', name)).policy.name;
}

// @param file where its bindings are to be changed
function sayWhoIsMissing(dir: string, submitter: SubmitterEntry | undefined, file: string): void {
  const bytes = workspaceFiles(dir).get(bindingsFile);
  const bindings = bytes === undefined ? undefined : parseBindings(bytes);
  if (bindings?.ok !== true) return;
  if (submitter !== undefined && bindingOf(bindings.value, submitter.principal) === undefined)
    sayUnbound(dir, submitter.principal, bindings.value, file);
  // A job that a token names brings its key with it.
  if (bindings.value.submitters?.length === 0 && !workspaceFiles(dir).has('issuers.yaml'))
    note(
      'WARNING: bindings.yaml names no key that signs submissions, so that nothing runs yet: the same with --pki DIR --as NAME makes yours, csc login prints those of others',
    );
}

// The bindings beside the sample profiles are of one trust domain, and those of a fleet of another mean nobody of it.
function sayUnbound(dir: string, principal: string, { bindings }: Bindings, file: string): void {
  const profiles = [...workspaceFiles(dir).keys()].filter(isProfile).map(profileName(dir));
  const meant = bindings.map(({ identity }) => identity).join(', ');
  const why = meant === '' ? 'it has none' : `they mean ${meant}`;
  note(
    [
      `WARNING: no binding in ${file} means ${principal}, who may use nothing: ${why}.`,
      'Write there, below `bindings:` (the first that fits counts), with the profiles that are to be used, and do this again:',
      `  - identity: ${principal}`,
      `    policies: [${profiles.join(', ')}]`,
    ]
      .map(plainLine)
      .join('\n'),
  );
}

async function sayStrangeClaims(dir: string): Promise<void> {
  const bytes = workspaceFiles(dir).get('issuers.yaml');
  if (bytes === undefined) return;
  const { describeStrangeClaims } = await import('../policy/issuers.ts');
  for (const { message } of describeStrangeClaims(bytes))
    note(plainLine(`WARNING: issuers.yaml: ${message}`));
}

async function add(files: string[], { dir }: At): Promise<number> {
  addFiles(dir, readOwnersFiles(files));
  await sayStrangeClaims(dir);
  note(`${files.length} added; what is published stays until csc policy sign and csc policy publish`);
  return exitCodes.ok;
}

async function removeFiles(names: string[], { dir }: At): Promise<number> {
  for (const name of names) removeFile(dir, name);
  note(`${names.length} removed; what is published stays until csc policy sign and csc policy publish`);
  return exitCodes.ok;
}

/** Where a file goes in a repository: profiles and their samples into `policies/`, what its format names by that name. */
function repositoryName(file: string): string {
  const name = basename(file);
  return isOwnersFile(name) ? name : `policies/${name}`;
}

function readOwnersFiles(files: readonly string[]): Map<string, Buffer> {
  return new Map(
    files.map((file) => [
      repositoryName(file),
      readBoundedFile(file, { maxBytes: artifactBytes.ownersFile }).bytes,
    ]),
  );
}

async function signFiles({ dir, key, days }: SignOptions): Promise<number> {
  const signers = key === undefined ? localSigners(dir) : [readSigningKey(key)];
  const lifetimes = { ...defaultLifetimes, targets: toCount(days, 'a number of days') * dayMs };
  const signed = signers.flatMap((signer) => signStaged(dir, signer, new Date(), lifetimes));
  const roles = [...new Set(signed)].join(' and ');
  note(roles === '' ? 'there is nothing new to sign' : `signed: ${roles}`);
  await writeOut(describe(repositoryStatus(dir)));
  return exitCodes.ok;
}

async function publishFiles({ dir, onlineKey }: At & { onlineKey?: string }): Promise<number> {
  publish(dir, note, onlineKey);
  return exitCodes.ok;
}

async function showStatus({ dir, json }: At & { json?: true }): Promise<number> {
  const status = repositoryStatus(dir);
  await (json === true ? writeJson(status) : writeOut(describe(status)));
  return exitCodes.ok;
}

async function rotateKeys(options: KeyOptions): Promise<number> {
  rotateRoot(options.dir, readKeys(options), new Date());
  note('a new root waits for the signatures of the old keys and of the new ones: csc policy sign --key KEY');
  return exitCodes.ok;
}

const dayMs = 86_400_000;

/** How old what is signed is, as hosts hold it against their max_owners_age_sec and max_staleness_sec. */
function describeAge(signedAt: string | undefined, now: Date): string {
  if (signedAt === undefined) return ', says no date of its signature';
  const minutes = Math.floor((now.getTime() - Date.parse(signedAt)) / 60_000);
  if (minutes < 0) return `, signed ${signedAt}, which is still to come`;
  const units = [
    [1440, 'days'],
    [60, 'hours'],
    [1, 'minutes'],
  ] as const;
  const [size, name] = units.find(([it]) => minutes >= 2 * it) ?? [1, 'minutes'];
  return `, signed ${signedAt.replace('.000Z', 'Z')} (${Math.floor(minutes / size)} ${name} ago)`;
}

function describe(status: RepositoryStatus): string {
  const { root, targets, stagedRoot, stagedTargets, freshUntil, vouchedAt, files, damaged = [] } = status;
  const now = new Date();
  const lines = [
    `root      version ${root.version}, expires ${root.expires}`,
    targets === undefined
      ? 'files     none published'
      : `files     version ${targets.version}, expires ${targets.expires}${describeAge(targets.signedAt, now)}`,
    ...(freshUntil === undefined
      ? []
      : [`fresh     until ${freshUntil}${describeAge(vouchedAt, now)}: csc policy publish refreshes it`]),
    ...[['root', stagedRoot] as const, ['files', stagedTargets] as const].flatMap(([name, staged]) =>
      staged === undefined
        ? []
        : [
            `to come   ${name} version ${staged.version}: ${staged.signatures} of ${staged.threshold} signatures`,
          ],
    ),
    ...files.map((name) => `          ${name}`),
    ...damaged.map(
      (name) =>
        `DAMAGED   ${name}: not what was signed, and refused by hosts; csc policy publish writes files anew`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function readKeys({
  rootKey,
  rootThreshold,
  targetsKey,
  targetsThreshold,
  onlineKey,
}: KeyOptions): RepositoryKeys {
  if (rootKey.length === 0 || onlineKey === undefined)
    throw usage('name the public keys: --root-key FILE, once an owner, and --online-key FILE; or --local');
  const root = { publicKeys: rootKey.map(readPublicKey), threshold: toCount(rootThreshold) };
  const targets =
    targetsKey.length === 0
      ? root
      : { publicKeys: targetsKey.map(readPublicKey), threshold: toCount(targetsThreshold ?? '1') };
  return { root, targets, online: readPublicKey(onlineKey) };
}

function toCount(text: string, what = 'a threshold'): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw usage(`${what} is a number from 1 on, not ${JSON.stringify(text)}`);
  return count;
}

function usage(message: string): CscError {
  return new CscError('CONFIG_INVALID', message);
}
