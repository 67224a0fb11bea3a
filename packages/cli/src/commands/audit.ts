import { parseTimestamp } from '@csc-fleet/common/encoding';
import { type Command, InvalidArgumentError } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { addGateOptions, type GateOptions, gateOptionsHelp } from '../connect/gate-options.ts';
import { toOcsf } from '../show/ocsf.ts';
import { writeJson } from '../terminal/streams.ts';

interface AuditCommandOptions extends GateOptions {
  readonly follow?: true;
  readonly fromSequence?: number;
  readonly principal?: string;
  readonly executor?: string;
  readonly profile?: string;
  readonly outcome?: string;
  readonly since?: Date;
  readonly until?: Date;
}

const help = `${gateOptionsHelp}
One JSON line for each thing that was decided or has happened, with the names of OCSF 1.6.0 (class API Activity, 6003);
docs/audit.md has them all. metadata.sequence grows by one from record to record: --from-sequence with the number after the
last one that was read goes on without a loss or a double, also after the gate was restarted. Records are kept as long as
receipts are (retention.receipts_days). This is what the gate says; a receipt proves what a host did.

Outcomes: allow, deny, needs_approval, approve, running, queued, cancelling, succeeded, failed, blocked, expired, cancelled,
lost, in_force, frozen, revoked, none.

Examples:
  $ csc audit --since 2026-11-01T00:00:00Z --principal spiffe://csc.local/client/ci-7
  $ csc audit --outcome deny | jq -r '.actor.user.uid'
  $ csc audit --follow --from-sequence 4711 >> audit.jsonl
`;

/** Prints audit records as JSON lines. Resolves to 0 once there are no more. */
async function showAudit(options: AuditCommandOptions): Promise<number> {
  using client = connectGate(options);
  const { follow, fromSequence, principal, outcome, since, until } = options;
  const filters = { principal, outcome, since, until, executorId: options.executor };
  const wanted = { follow: follow === true, fromSequence, ...filters, policyProfile: options.profile };
  for await (const record of client.audit(wanted)) await writeJson(toOcsf(record));
  return exitCodes.ok;
}

function parseTime(text: string): Date {
  const time = parseTimestamp(text);
  if (time === undefined) throw new InvalidArgumentError('Give a time as 2026-11-27T18:00:00Z.');
  return time;
}

function parseSequence(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1.');
  return Number(text);
}

export function defineAudit(command: Command): void {
  command.description(
    'Tell who ran what, where, under which policy version and approved by whom. For admins.',
  );
  addGateOptions(command)
    .option('--follow', 'go on with what comes')
    .option('--from-sequence <number>', 'the first record wanted', parseSequence)
    .option('--principal <id>', 'only of executions that this SPIFFE id has submitted')
    .option('--executor <name>', 'only what has to do with this executor')
    .option('--profile <name>', 'only under this policy profile')
    .option('--outcome <outcome>', 'only with this outcome')
    .option('--since <time>', 'only from this time on', parseTime)
    .option('--until <time>', 'only before this time', parseTime)
    .addHelpText('after', help);
  act<[AuditCommandOptions]>(command, showAudit);
}
