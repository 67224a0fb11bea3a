import { withoutSecrets } from '@csc-fleet/common/errors';
import { version } from '@csc-fleet/common/version';
import { Command, Help, type Option } from 'commander';
import { exitCodesTopic } from './action/exit-codes.ts';

/** Adds arguments, options, help and the action to a command. */
type DefineCommand = (command: Command) => void;

interface Entry {
  readonly name: string;
  readonly group: string;
  readonly summary: string;
  readonly load: () => Promise<DefineCommand>;
}

const onThisMachine = 'Without a gate:';
const withGate = 'With a gate:';
const files = 'Artifacts, keys and certificates:';
const services = 'Services:';

// Each command is loaded only when it is called: csc run starts fast because nothing else is read.
const entries: readonly Entry[] = [
  {
    name: 'check',
    group: onThisMachine,
    summary: 'say what a policy decides of a contract',
    load: async () => (await import('./commands/check.ts')).defineCheck,
  },
  {
    name: 'run',
    group: onThisMachine,
    summary: 'decide, run on this machine and write a receipt',
    load: async () => (await import('./commands/run.ts')).defineRun,
  },
  {
    name: 'verify-receipt',
    group: onThisMachine,
    summary: 'verify a receipt’s signature',
    load: async () => (await import('./commands/verify-receipt.ts')).defineVerifyReceipt,
  },
  {
    name: 'receipts',
    group: onThisMachine,
    summary: 'verify the receipts that executors keep, and that none is missing',
    load: async () => (await import('./commands/receipts.ts')).defineReceipts,
  },
  {
    name: 'doctor',
    group: onThisMachine,
    summary: 'tell whether this host can run contracts in a sandbox, and what to do if not',
    load: async () => (await import('./commands/doctor.ts')).defineDoctor,
  },
  {
    name: 'demo',
    group: onThisMachine,
    summary: 'show the whole path with a real gate and executor on loopback',
    load: async () => (await import('./commands/demo.ts')).defineDemo,
  },
  {
    name: 'login',
    group: withGate,
    summary: 'make or choose the key that signs your submissions',
    load: async () => (await import('./commands/login.ts')).defineLogin,
  },
  {
    name: 'submit',
    group: withGate,
    summary: 'run a contract through a gate and show its output as it comes',
    load: async () => (await import('./commands/submit.ts')).defineSubmit,
  },
  {
    name: 'get',
    group: withGate,
    summary: 'show an execution, its output or its receipt',
    load: async () => (await import('./commands/get.ts')).defineGet,
  },
  {
    name: 'attach',
    group: withGate,
    summary: 'come back to the terminal of an execution',
    load: async () => (await import('./commands/attach.ts')).defineAttach,
  },
  {
    name: 'play',
    group: withGate,
    summary: 'play the recording of a terminal',
    load: async () => (await import('./commands/play.ts')).definePlay,
  },
  {
    name: 'list',
    group: withGate,
    summary: 'list your executions, newest first; admins everybody’s',
    load: async () => (await import('./commands/list.ts')).defineList,
  },
  {
    name: 'approvals',
    group: withGate,
    summary: 'list what waits for your approval',
    load: async () => (await import('./commands/approvals.ts')).defineApprovals,
  },
  {
    name: 'approve',
    group: withGate,
    summary: 'read something in full, at a terminal, and agree to it with your signature',
    load: async () => (await import('./commands/approve.ts')).defineApprove,
  },
  {
    name: 'reject',
    group: withGate,
    summary: 'say no to what waits for an approval, signed; or take back what you submitted',
    load: async () => (await import('./commands/reject.ts')).defineReject,
  },
  {
    name: 'break-glass',
    group: withGate,
    summary: 'have something run without its approvals, in an emergency, for all to see',
    load: async () => (await import('./commands/break-glass.ts')).defineBreakGlass,
  },
  {
    name: 'status',
    group: withGate,
    summary: 'show how the gate is, and what waits for what; to admins the executors',
    load: async () => (await import('./commands/status.ts')).defineStatus,
  },
  {
    name: 'audit',
    group: withGate,
    summary:
      'tell who ran what, where and by which policy, for admins and auditors: JSON lines with OCSF’s names',
    load: async () => (await import('./commands/audit.ts')).defineAudit,
  },
  {
    name: 'witness',
    group: services,
    summary: 'cosign the checkpoints of gates’ logs, so that none can show two logs',
    load: async () => (await import('./commands/witness.ts')).defineWitness,
  },
  {
    name: 'profiles',
    group: withGate,
    summary: 'show which policy profiles you may use, and what they allow',
    load: async () => (await import('./commands/profiles.ts')).defineProfiles,
  },
  {
    name: 'cancel',
    group: withGate,
    summary: 'ask an execution to end',
    load: async () => (await import('./commands/cancel.ts')).defineCancel,
  },
  {
    name: 'validate',
    group: files,
    summary: 'check files against the protocol and show every fault',
    load: async () => (await import('./commands/validate.ts')).defineValidate,
  },
  {
    name: 'schema',
    group: files,
    summary: 'print an artifact’s JSON Schema',
    load: async () => (await import('./commands/schema.ts')).defineSchema,
  },
  {
    name: 'keygen',
    group: files,
    summary: 'make an Ed25519 key pair',
    load: async () => (await import('./commands/keygen.ts')).defineKeygen,
  },
  {
    name: 'pki',
    group: files,
    summary: 'make a development CA and certificates',
    load: async () => (await import('./commands/pki.ts')).definePki,
  },
  {
    name: 'ca',
    group: services,
    summary: 'run the fleet’s CA, and let hosts, gates and clients in',
    load: async () => (await import('./commands/ca.ts')).defineCa,
  },
  {
    name: 'policy',
    group: files,
    summary: 'keep the policy repository that hosts verify by themselves',
    load: async () => (await import('./commands/policy.ts')).definePolicy,
  },
  {
    name: 'admin',
    group: files,
    summary:
      'freeze a fleet, revoke (keys, principals, hosts, …), resolve what is lost, prune, reload a service’s config',
    load: async () => (await import('./commands/admin.ts')).defineAdmin,
  },
  {
    name: 'backup',
    group: services,
    summary: 'copy what a gate or an executor must not lose, while it runs',
    load: async () => (await import('./commands/backup.ts')).defineBackup,
  },
  {
    name: 'restore',
    group: services,
    summary: 'put a backup of a gate or an executor in the place of what was lost',
    load: async () => (await import('./commands/backup.ts')).defineRestore,
  },
  {
    name: 'gate',
    group: services,
    summary: 'run the gate',
    load: async () => (await import('./commands/gate.ts')).defineGate,
  },
  {
    name: 'executor',
    group: services,
    summary: 'run the executor of this host',
    load: async () => (await import('./commands/executor.ts')).defineExecutor,
  },
];

const helpAfter = `
Start here:
  $ csc demo                                             see it work
  $ csc check contract.json policy.yaml                  what would be decided, and why
  $ csc run contract.json policy.yaml                    run it here
  $ csc submit contract.json --gate host:7443 --pki pki --as alice

  csc help COMMAND shows a command’s options with examples; csc help exit-codes the exit codes.
`;

/** The command line of csc, with only those commands defined in full that `argv` names. */
export async function buildProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command('csc');
  program
    .description('Bounded command execution: contracts in, decisions by policy, signed receipts out.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .addHelpText('after', helpAfter)
    // Its messages quote the command line, on which a key may stand.
    .configureOutput({ outputError: (text, write) => write(withoutSecrets(text)) })
    .configureHelp({ optionDescription: describeOption })
    .showSuggestionAfterError()
    .exitOverride();
  // Whoever names a command sees nothing of the others.
  const named = entries.filter(({ name }) => name === argv[0]);
  for (const entry of named.length > 0 ? named : entries) await addEntry(program, entry, argv);
  addTopic(program);
  return program;
}

// A default that is nothing, or that its description says already, is noise.
function describeOption(this: Help, option: Option): string {
  const { defaultValue: value, description } = option;
  const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  if (!isEmpty && !description.includes('(default: '))
    return Help.prototype.optionDescription.call(this, option);
  const shown = Object.assign(Object.create(option), { defaultValue: undefined });
  return Help.prototype.optionDescription.call(this, shown);
}

async function addEntry(program: Command, entry: Entry, argv: readonly string[]): Promise<void> {
  const command = program.command(entry.name).summary(entry.summary).helpGroup(entry.group);
  command.showHelpAfterError(`Try: csc ${entry.name} --help`);
  if (argv[0] === entry.name || (argv[0] === 'help' && argv[1] === entry.name)) (await entry.load())(command);
}

function addTopic(program: Command): void {
  const topic = program.command('exit-codes', { hidden: true }).summary('the exit codes');
  topic.configureHelp({ formatHelp: () => exitCodesTopic });
  topic.action(() => topic.outputHelp());
}
