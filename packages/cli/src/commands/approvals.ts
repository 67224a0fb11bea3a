import type { PendingApproval } from '@csc-fleet/common/messages';
import { readOwnIdentity } from '@csc-fleet/common/rpc';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { describeApprover, openApproverKey } from '../approve/approver-key.ts';
import { describeQuorum, formatAge, missingOf } from '../approve/describe.ts';
import { connectGate } from '../connect/connect-gate.ts';
import {
  addGateAddressOptions,
  type GateOptions,
  gateAddressHelp,
  resolveCertificate,
} from '../connect/gate-options.ts';
import { wrapLine } from '../show/contract.ts';
import { executionJson, stateName } from '../show/messages-json.ts';
import { note, writeJson, writeOut } from '../terminal/streams.ts';
import { formatTime } from '../terminal/table.ts';
import { createPaint, type Paint, plainLine } from '../terminal/text.ts';

const help = `${gateAddressHelp}
This is what the gate says; csc approve EXECUTION shows all of one, verifies what can be, and asks.

Examples:
  $ csc approvals --gate gate.example:7443 --pki pki --as bob
  $ csc approvals --watch --json | jq -r 'select(.over | not) | .execution_id'
  $ csc approvals --print-key --approver-key ~/.ssh/id_ed25519_sk    what the owners add to approvers.yaml
`;

interface ApprovalsOptions extends Omit<GateOptions, 'keys'> {
  readonly watch?: true;
  readonly json?: true;
  readonly printKey?: true;
  readonly approverKey?: string;
}

export function defineApprovals(command: Command): void {
  command.description('List what waits for your approval, oldest first.');
  addGateAddressOptions(command)
    .option('--watch', 'go on, and tell each that comes, changes or is over (Ctrl-C ends it)')
    .option('--print-key', 'ask no gate: print your key as approvers.yaml has it')
    .option('--approver-key <key>', 'with --print-key: a private key file, agent or agent:FINGERPRINT')
    .option('--json', 'JSON lines, one execution each')
    .addHelpText('after', help);
  act<[ApprovalsOptions]>(command, (options) => listApprovals({ ...options, keys: [] }));
}

async function listApprovals(options: ApprovalsOptions & { keys: readonly string[] }): Promise<number> {
  if (options.printKey === true) return printKey(options);
  using client = connectGate(options);
  if (options.watch === true) {
    for await (const { pending, over } of client.approvals.watch()) await tell(pending, options, over);
    return exitCodes.ok;
  }
  let count = 0;
  for await (const pending of client.approvals.list()) {
    await tell(pending, options);
    count++;
  }
  if (count === 0 && options.json !== true) note('csc: nothing waits for you');
  return exitCodes.ok;
}

async function printKey({
  approverKey = process.env['CSC_APPROVER_KEY'] ?? 'agent',
  ...options
}: ApprovalsOptions & { keys: readonly string[] }): Promise<number> {
  const identity = readOwnIdentity(resolveCertificate(options, process.env), 'client').uri;
  await writeOut(describeApprover(identity, await openApproverKey(approverKey)));
  return exitCodes.ok;
}

async function tell(pending: PendingApproval, { json }: ApprovalsOptions, over?: boolean): Promise<void> {
  if (json === true) return writeJson({ ...pendingJson(pending), ...(over === undefined ? {} : { over }) });
  await writeOut(
    describePending(
      pending,
      over === true,
      createPaint(process.stdout),
      process.stdout.columns ?? 0,
      new Date(),
    ),
  );
}

function describePending(
  pending: PendingApproval,
  over: boolean,
  paint: Paint,
  columns: number,
  now: Date,
): string {
  const { execution, until, riskClass, reason } = pending;
  const age = execution?.submittedAt === undefined ? '' : `, ${formatAge(execution.submittedAt, now)} ago`;
  const rows: [string, string][] = [
    ['asks', `${execution?.principal ?? ''}${age}`],
    ['intent', execution?.intent ?? ''],
    ['risk', riskClass],
    ['because', reason],
    ['until', formatTime(until)],
    ...describeQuorum(pending).map((text): [string, string] => ['wanted', text]),
    ...(over ? [] : rowsOfWaiting(pending)),
  ];
  const lines = [
    `${paint('bold', plainLine(execution?.executionId ?? ''))} ${stateOf(pending, over)}`,
    ...rows.map(([name, value]) => wrapLine(`  ${name.padEnd(9)}${plainLine(value)}`, columns, 11)),
  ];
  return `${lines.join('\n')}\n`;
}

function stateOf({ execution, reviewed }: PendingApproval, over: boolean): string {
  if (over) return stateName(execution?.state ?? 0).toUpperCase();
  return reviewed ? 'REVIEWED BY YOU' : 'WAITS';
}

function rowsOfWaiting({ execution, quorum, reviewed, groups, mayBreakGlass }: PendingApproval) {
  const missing = missingOf(quorum);
  const rows: [string, string][] = [['missing', missing === 1 ? '1 person' : `${missing} people`]];
  const id = execution?.executionId.slice(0, 8) ?? '';
  if (reviewed) return rows;
  // Of a gate before this release, nothing is known of the caller's groups: what it lists, it asks the caller about.
  if (groups.length > 0 || !mayBreakGlass)
    rows.push(['next', `csc approve ${id}, or csc reject ${id} --reason TEXT`]);
  else rows.push(['you', `are not asked; in an emergency: csc break-glass ${id} --reason TEXT`]);
  return rows;
}

function pendingJson(pending: PendingApproval): object {
  const { execution, until, quorum, reviewed, riskClass, reason, people, groups, mayBreakGlass } = pending;
  return {
    ...(execution === undefined ? {} : executionJson(execution)),
    until,
    risk_class: riskClass,
    reason,
    reviewed,
    quorum: quorum.map((it) => ({ group: it.group, count: it.count, approved_by: it.approvedBy })),
    people,
    groups,
    may_break_glass: mayBreakGlass,
    missing: missingOf(quorum),
  };
}
