import { type Command, InvalidArgumentError, Option } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { type Moment, parseMoment } from '../action/options.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { addGateAddressOptions, type GateOptions, gateAddressHelp } from '../connect/gate-options.ts';
import { toOcsf } from '../show/ocsf.ts';
import { writeJson } from '../terminal/streams.ts';

interface AuditCommandOptions extends Omit<GateOptions, 'keys'> {
  readonly follow?: true;
  readonly fromSequence?: number;
  readonly principal?: string;
  readonly executor?: string;
  readonly profile?: string;
  readonly outcome?: string;
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

/** Prints audit records as JSON lines. Resolves to 0 once there are no more. */
async function showAudit(options: AuditCommandOptions): Promise<number> {
  using client = connectGate({ ...options, keys: [] });
  const { follow, fromSequence, principal, outcome, since, until } = options;
  const filters = {
    principal,
    outcome,
    since: toTime(since),
    until: toTime(until),
    executorId: options.executor,
  };
  const wanted = { follow: follow === true, fromSequence, ...filters, policyProfile: options.profile };
  for await (const record of client.audit(wanted)) await writeJson(toOcsf(record));
  return exitCodes.ok;
}

function toTime(moment: Moment | undefined): Date | undefined {
  if (moment === undefined) return undefined;
  return 'at' in moment ? moment.at : new Date(Date.now() - moment.agoMs);
}

function parseSequence(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1.');
  return Number(text);
}

export function defineAudit(command: Command): void {
  command.description(
    'Tell who ran what, where, under which policy version and approved by whom. For admins.',
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
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices(outcomes))
    .option('--since <when>', 'only from then on: 90s, 5m, 1h ago, or an RFC 3339 time', parseMoment)
    .option('--until <when>', 'only before then', parseMoment)
    .addHelpText('after', help);
  act<[AuditCommandOptions]>(command, showAudit);
}
