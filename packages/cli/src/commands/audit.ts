import { CscError } from '@csc-fleet/common/errors';
import type { AuditRecord } from '@csc-fleet/common/messages';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { append, type Moment, parseMoment } from '../action/options.ts';
import { connectGate, seenLogsFile } from '../connect/connect-gate.ts';
import {
  addGateAddressOptions,
  addLogOptions,
  type GateOptions,
  gateAddressHelp,
} from '../connect/gate-options.ts';
import type { Forgettable } from '../connect/seen-logs.ts';
import type { BundleOptions } from '../evidence/bundle.ts';
import { trustDomainOption } from '../evidence/trust.ts';
import type { VerifyAuditOptions } from '../evidence/verify-audit.ts';
import type { VerifyBundleOptions } from '../evidence/verify-bundle.ts';
import { toOcsf } from '../show/ocsf.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

export interface AuditCommandOptions extends Omit<GateOptions, 'keys' | 'fleetCa'> {
  readonly follow?: true;
  readonly fromSequence?: number;
  readonly principal?: string;
  readonly executor?: string;
  readonly profile?: string;
  readonly outcome?: string;
  readonly approver?: string;
  readonly policyVersion?: string;
  readonly since?: Moment;
  readonly until?: Moment;
}

// AuditRecord.outcome, as docs/audit.md has them.
const outcomes = [
  ...[
    'allow',
    'deny',
    'needs_approval',
    'approve',
    'reject',
    'break_glass',
    'running',
    'queued',
    'cancelling',
    'succeeded',
    'failed',
    'blocked',
  ],
  ...['expired', 'cancelled', 'lost', 'in_force', 'frozen', 'revoked', 'none'],
];

const help = `${gateAddressHelp}
One JSON line for each thing that was decided or has happened, with the names of OCSF 1.6.0 (class API Activity, 6003);
docs/audit.md has them all. metadata.sequence grows by one from record to record: --from-sequence with the number after the
last one that was read goes on without a loss or a double, also after the gate was restarted. Records are kept as long as
receipts are (retention.receipts_days). This is what the gate says; a receipt proves what a host did.

Examples:
  $ csc audit --since 2026-11-01T00:00:00Z --principal spiffe://csc.local/client/ci-7
  $ csc audit --since 1h --principal ci-7
  $ csc audit --outcome deny | jq -r '.actor.user.uid'
  $ csc audit --follow --from-sequence 4711 >> audit.jsonl
`;

/** The filters that the command line names. */
function toFilters(options: AuditCommandOptions) {
  const { principal, outcome, executor, profile } = options;
  const now = Date.now();
  const [since, until] = [toTime(options.since, now), toTime(options.until, now)];
  // That nothing was then, a mistyped time would say, too.
  if (since !== undefined && until !== undefined && since >= until) {
    const message = `--since ${since.toISOString()} is not before --until ${until.toISOString()}: nothing is in between (--since 1h --until 1m is from an hour ago to a minute ago)`;
    throw new CscError('CONFIG_INVALID', message);
  }
  return {
    principal,
    outcome,
    since,
    until,
    executorId: executor,
    policyProfile: profile,
  };
}

/** Prints audit records as JSON lines. Resolves to 0 once there are no more. */
async function showAudit(options: AuditCommandOptions): Promise<number> {
  const { follow, fromSequence, approver, policyVersion } = options;
  const wanted = { follow: follow === true, fromSequence, ...toFilters(options) };
  using client = connectGate({ ...options, keys: [] });
  for await (const record of client.audit(wanted))
    if (isUnder(record, policyVersion) && isBy(record, approver)) await writeJson(toOcsf(record));
  return exitCodes.ok;
}

// A version of the repository is a number, a profile's its hash, or how that begins.
function isUnder(
  { policySha256, policyVersion, policies }: AuditRecord,
  wanted: string | undefined,
): boolean {
  if (wanted === undefined) return true;
  if (/^[1-9][0-9]{0,8}$/.test(wanted) && policyVersion === Number(wanted)) return true;
  const hashes = [policySha256, ...policies.map(({ sha256 }) => sha256)];
  return wanted.length >= leastOfHash && hashes.some((it) => it.startsWith(wanted.toLowerCase()));
}

const leastOfHash = 8;

// The whole of an identity, or the NAME at its end.
function isBy({ approvers }: AuditRecord, wanted: string | undefined): boolean {
  return wanted === undefined || approvers.some((it) => it === wanted || it.endsWith(`/${wanted}`));
}

function toTime(moment: Moment | undefined, now: number): Date | undefined {
  if (moment === undefined) return undefined;
  return 'at' in moment ? moment.at : new Date(now - moment.agoMs);
}

function parseSequence(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1.');
  return Number(text);
}

export function defineAudit(command: Command): void {
  command.description(
    'Tell who ran what, where, under which policy version and approved by whom. For admins and auditors.',
  );
  addGateAddressOptions(command)
    .option('--follow', 'go on with what comes')
    .option('--from-sequence <number>', 'the first record wanted', parseSequence)
    .option(
      '--principal <id>',
      'only of executions that this client has submitted: its NAME, or its SPIFFE id',
    )
    .option('--executor <name>', 'only what has to do with this executor')
    .option('--profile <name>', 'only under this policy profile')
    .option(
      '--policy-version <version>',
      'only under it: a profile’s SHA-256 (8 digits do), or a repository’s number',
    )
    .option('--approver <who>', 'only approvals by this identity, or the NAME at its end')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices(outcomes))
    .option('--since <when>', 'only from then on: 90s, 5m, 1h ago, or an RFC 3339 time', parseMoment)
    .option('--until <when>', 'only before then', parseMoment)
    .addHelpText('after', help);
  act<[AuditCommandOptions]>(command, showAudit);
  defineBundle(command);
  defineVerifyBundle(command);
  defineVerify(command);
  defineForget(command);
}

const forgetHelp = `
A gate that has handed a receipt out owes whoever holds its log to account (--log-vkey) a proof that the log has it. A gate that
does not know that execution any more cannot give it: its database was set back (restored from a backup), it keeps receipts no
longer than that, or it hides it. Commands fail with LOG_MISSING then, until somebody has asked the gate's owners, and has forgotten
what is owed. A note of it is kept where evidence is kept. So it is where a log was found false: that stays said until the gate shows
one again that is true, or until somebody has forgotten it by the log's name. With it goes what was met of that log, which is begun anew.

Examples:
  $ csc audit forget --pki pki --as alice --gate gate.example.org:7443                 # what is owed
  $ csc audit forget exec_01J… --pki pki --as alice --gate gate.example.org:7443
  $ csc audit forget csc.local/gate/gate --pki pki --as alice --gate gate.example.org:7443
`;

function defineForget(audit: Command): void {
  const forget = audit
    .command('forget')
    .summary('forget that the gate owes proofs of receipts, or that its log is false')
    .description(
      'List the receipts whose proof the gate owes this user, and logs that were found false, or forget some. No gate is called.',
    )
    .argument(
      '[what...]',
      'an execution, by its id or its first characters, whose receipt is forgotten, or the name of a log; none: list them',
    )
    .option('--known-executors <file>', 'where executors’ keys are remembered (default: $XDG_STATE_HOME/csc)')
    .addHelpText('after', forgetHelp);
  act<[string[]]>(forget, async (named) => {
    const file = seenLogsFile({ ...forget.optsWithGlobals<GateOptions>(), keys: [] });
    const { forgetHeld, heldIn } = await import('../connect/seen-logs.ts');
    const lines =
      named.length > 0
        ? [`forgotten; the note of it is ${await forgetHeld(file, named)}`]
        : describeHeld(heldIn(file));
    await writeOut(lines.map((line) => `${plainLine(line)}\n`).join(''));
    return exitCodes.ok;
  });
}

function describeHeld({ owed, accused }: Forgettable): string[] {
  return [
    ...accused.map(
      ({ origin, at, message, place }) => `${origin} FALSE, as found at ${at}: ${message}; ${place}`,
    ),
    ...owed.map(({ executionId, sha256, place }) => `${executionId} ${sha256} ${place}`),
  ];
}

const verifyHelp = `
DIR holds receipts as csc executor receipts export writes them on hosts. Each of them must be in the gate's log of receipts, each
entry of the log of those hosts and times must be one of them, the log's checkpoint must be signed with --log-vkey (and cosigned,
with --witness-vkey), and must only add to the one that was verified before, which is remembered. The log is read from the gate, by
an admin or an auditor, or from a copy of its files (log/tree of the gate's data directory).

Exit codes: 0 all is well, 1 something is not, 69 it cannot be known: there is no log, or too few witnesses have cosigned it.

Examples:
  $ csc audit verify exported --fleet-ca fleet-ca.pem --log-vkey gate.vkey --gate gate.example.org:7443 --pki pki --as auditor
  $ csc audit verify exported --fleet-ca fleet-ca.pem --log-vkey gate.vkey --log tree --witness-vkey witness.vkey
`;

function defineVerify(audit: Command): void {
  const verify = audit
    .command('verify')
    .summary('hold the receipts of hosts against the gate’s log, both ways')
    .description('Hold receipts that hosts have exported against the gate’s log of receipts, both ways.')
    .argument('<dir>', 'receipts that hosts have exported')
    .option('--log <dir>', 'a copy of the log’s files, instead of a gate')
    .option('--fleet-ca <file>', 'CA of executors’ receipt keys, PEM')
    .option(...trustDomainOption)
    .option(
      '--keys <file>',
      'executors’ keys, of csc executor keys --export, instead of --fleet-ca; repeatable',
      append,
      [],
    )
    .option('--owners-root <file>', 'root.json that hosts pin: with --log-of')
    .option('--remember <file>', 'what was verified before (default: $XDG_STATE_HOME/csc/audited-logs.json)')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', verifyHelp);
  addLogOptions(verify);
  act<[string]>(verify, async (dir) => {
    // Commander gives what both have to the first.
    const options = verify.optsWithGlobals<VerifyAuditOptions>();
    const { verifyAudit } = await import('../evidence/verify-audit.ts');
    return verifyAudit(dir, options);
  });
}

const bundleHelp = `
The gate and the times are those of csc audit (--gate, --pki, --since, --until): what was then is in the bundle, with the
receipt of each execution, verified against --fleet-ca or --keys, which go in, too. Its other filters are refused: they would
leave gaps in hosts' chains, and a receipt that is left out cannot be told from one that was taken out. The
gate gives everybody's receipts to whom the owners have given roles: [auditor] in bindings.yaml; others have their own alone.
Beside what the gate gives, receipts that hosts have exported can be put in (--receipts), or instead of it where no gate is
named; then a receipt that a gate has dropped is there. DIR/index.html verifies all of it in a browser, offline. Keep the
hash of the manifest that is printed: whoever hands the folder on cannot change it without changing that.

Exit codes: 0 made, 1 made, and receipts are left out that could not be had or do not count (each is named).

Examples:
  $ csc audit bundle --since 168h --fleet-ca fleet-ca.pem --out week-48
  $ csc audit bundle --receipts exported --fleet-ca fleet-ca.pem --policy-repository published --out host-1
`;

interface OwnBundleOptions extends AuditCommandOptions, BundleOptions {}

function defineBundle(audit: Command): void {
  const bundle = audit
    .command('bundle')
    .summary('put evidence into one folder that verifies offline, with a page for a browser')
    .description(
      'Put receipts, chains, certificates, policies and the audit into one folder that verifies offline.',
    )
    .requiredOption('--out <dir>', 'where to: a folder that is empty, or not there')
    .option('--fleet-ca <file>', 'CA of executors’ receipt keys, PEM')
    .option('--keys <file>', 'executors’ keys, of csc executor keys --export; repeatable', append, [])
    .option('--receipts <dir>', 'receipts that a host has exported; repeatable', append, [])
    .option('--approvals <dir>', 'approvals (*.json); repeatable', append, [])
    .option('--policy-repository <dir>', 'the published folder of a policy repository')
    .option('--owners-root <file>', 'root.json that hosts pin: with --log-of')
    .addHelpText('after', bundleHelp);
  addLogOptions(bundle);
  act<[unknown]>(bundle, async () => {
    // Commander gives what both have to the first.
    const options = bundle.optsWithGlobals<OwnBundleOptions>();
    checkWholeTime(options);
    const { makeBundle } = await import('../evidence/bundle.ts');
    const { since, until } = toFilters(options);
    const asked = {
      ...(since === undefined ? {} : { since: since.toISOString() }),
      ...(until === undefined ? {} : { until: until.toISOString() }),
    };
    return makeBundle({ since, until }, asked, options);
  });
}

// What makes a selection of csc audit, and leaves gaps in chains and log that are faults to whoever verifies a bundle.
const partial = {
  principal: '--principal',
  executor: '--executor',
  profile: '--profile',
  policyVersion: '--policy-version',
  approver: '--approver',
  outcome: '--outcome',
  fromSequence: '--from-sequence',
  follow: '--follow',
} as const satisfies { readonly [name in keyof AuditCommandOptions]?: string };

/** Throws CONFIG_INVALID where more is asked for than a time. */
function checkWholeTime(options: AuditCommandOptions): void {
  const given = Object.entries(partial).flatMap(([name, flag]) => (name in options ? flag : []));
  if (given.length === 0) return;
  const message = `a bundle is of all runs of a time, so that none can be missing from it unseen: leave out ${given.join(', ')} (csc audit takes it), and say the time by --since and --until`;
  throw new CscError('CONFIG_INVALID', message);
}

const verifyBundleHelp = `
Every file against the manifest, every signature, certificate and chain, that all receipts are of executors of one trust domain
(or of those that --trust-domain names: where a CA certifies for several fleets, say yours), and that each receipt is here that the audit and the log of
receipts in it name (--log-vkey: whose log that must be). With
--fleet-ca or --keys it is verified against those; without, against what the bundle brings, which is then said and is to be
compared. With --owners-root, policies, approvers, revocations and the log's key are those of the published folder in it
(--policy-repository) that the owners have signed; without, they are the bundle's word, which is said. --page writes a page of this csc with the folder in it as it is now: that in the folder is whoever’s
made it. An index.html that this csc would not make of the folder's files is a fault where this version is said to have made the bundle, and a
note where another is, or where there is none.

Exit codes: 0 all is well, 1 something is not.

Examples:
  $ csc audit verify-bundle week-48 --fleet-ca fleet-ca.pem
  $ csc audit verify-bundle week-48 --fleet-ca fleet-ca.pem --owners-root root.json
  $ csc audit verify-bundle week-48 --page week-48.html
`;

function defineVerifyBundle(audit: Command): void {
  const verify = audit
    .command('verify-bundle')
    .summary('verify a folder of csc audit bundle')
    .description('Verify a folder of csc audit bundle, without a gate and without a network.')
    .argument('<dir>', 'the bundle')
    .option('--fleet-ca <file>', 'CA of executors’ receipt keys, PEM')
    .option('--keys <file>', 'executors’ keys; repeatable', append, [])
    .option(...trustDomainOption)
    .option('--owners-root <file>', 'root.json that hosts pin: policies and approvers must be signed by it')
    .option('--page <file>', 'write a page that verifies it in a browser')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', verifyBundleHelp);
  addLogOptions(verify);
  act<[string, VerifyBundleOptions]>(verify, async (dir, options) => {
    const { verifyBundleFolder } = await import('../evidence/verify-bundle.ts');
    return verifyBundleFolder(dir, options);
  });
}
