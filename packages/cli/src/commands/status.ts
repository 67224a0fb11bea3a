import { isEndingSoon, tellLeft } from '@csc-fleet/common/identity';
import type {
  ExecutorStatus,
  Frozen,
  GetStatusResponse,
  Validity,
  Waiting,
} from '@csc-fleet/common/messages';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { absenceJson } from '../show/execution.ts';
import { describeFrozen, executionJson, stateName } from '../show/messages-json.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';
import { formatTime, toTable } from '../terminal/table.ts';
import { createPaint, formatElapsed, plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
You see whether the owners have frozen the fleet, and which of your executions wait, and for what. Admins (the role admin in bindings.yaml) see everybody's, the
executors with what each holds, and the policies of the gate.

Examples:
  $ csc status --gate gate.example:7443 --pki pki --as alice
  $ csc status --json | jq '.waiting[] | {execution_id, waits_for}'
`;

interface StatusOptions extends GateOptions {
  readonly json?: true;
}

export function defineStatus(command: Command): void {
  command.description('Show how the gate is, what waits and for what, and to admins the executors.');
  addTokenOptions(addGateOptions(command))
    .option('--json', 'print one JSON document')
    .addHelpText('after', help);
  act<[StatusOptions]>(command, showStatus);
}

/** Prints the status of the gate as far as the caller may know it. Resolves to 0. */
async function showStatus(options: StatusOptions): Promise<number> {
  using client = connectGate(options, await identify(options));
  const status = await client.status();
  const executors = status.admin ? await client.executors() : undefined;
  if (options.json === true) await writeJson(toJson(status, executors));
  else await writeOut(describe(status, executors, new Date()));
  return exitCodes.ok;
}

function describe(
  status: GetStatusResponse,
  executors: readonly ExecutorStatus[] | undefined,
  now: Date,
): string {
  const parts = [describeGate(status, now)];
  if (executors !== undefined) parts.push(describeExecutors(executors, status, now));
  parts.push(describeWaiting(status));
  return parts.join('\n');
}

function describeGate(
  { gateId, version, startedAt, certificate, policies, frozen, warnings }: GetStatusResponse,
  now: Date,
): string {
  const bold = createPaint(process.stdout);
  const up = startedAt === undefined ? '' : `, up for ${formatElapsed(now.getTime() - startedAt.getTime())}`;
  const lines = [`${bold('bold', plainLine(`gate ${gateId}`))} version ${plainLine(version)}${up}`];
  if (certificate !== undefined) lines.push(`  certificate ${describeValidity(certificate, now)}`);
  for (const { name, sha256 } of policies) lines.push(plainLine(`  policy ${name} ${sha256}`));
  if (frozen !== undefined)
    lines.push(`  ${bold(['red', 'bold'], 'FROZEN')} ${plainLine(describeFrozen(frozen))}`);
  for (const warning of warnings) lines.push(`  ${bold(['red', 'bold'], 'WARNING')} ${plainLine(warning)}`);
  return `${lines.join('\n')}\n`;
}

function describeValidity({ notBefore, notAfter }: Validity, now: Date): string {
  const range = `${formatTime(notBefore)} to ${formatTime(notAfter)}`;
  if (notBefore === undefined || notAfter === undefined) return range;
  const life = { from: notBefore, until: notAfter };
  const left = tellLeft(life, now);
  if (isEndingSoon(life, now))
    return `${range} ${createPaint(process.stdout)(['red', 'bold'], left.toUpperCase())}`;
  return `${range}, ${left}`;
}

function describeExecutors(
  executors: readonly ExecutorStatus[],
  { policies }: GetStatusResponse,
  now: Date,
): string {
  const paint = createPaint(process.stdout);
  if (executors.length === 0) return `${paint('bold', 'executors')}: none has ever come\n`;
  const own = new Map(policies.map((it) => [it.name, it.sha256]));
  return executors.map((it) => describeExecutor(it, own, now)).join('');
}

function describeExecutor(executor: ExecutorStatus, own: ReadonlyMap<string, string>, now: Date): string {
  const { identity, connected, resting, revoked, labels, slots, running, version, executionMode, sandbox } =
    executor;
  const paint = createPaint(process.stdout);
  const there = connected
    ? resting === ''
      ? 'connected'
      : `takes nothing: ${resting}`
    : describeAway(executor);
  const state =
    revoked === ''
      ? plainLine(there)
      : `${paint(['red', 'bold'], 'REVOKED')} ${plainLine(`${revoked}; ${there}`)}`;
  const ofLabels = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const rows: [string, string][] = [
    ['slots', connected ? `${running} of ${slots} taken` : String(slots)],
    ['labels', plainLine(ofLabels.join(', ')) || 'none'],
    ['version', plainLine(`${version}, ${[executionMode, ...sandbox].join(', ')}`)],
    ['last seen', formatTime(executor.lastSeen)],
    ...(executor.certificate === undefined
      ? []
      : ([['certificate', describeValidity(executor.certificate, now)]] satisfies [string, string][])),
    ...executor.policies.map(({ name, sha256 }): [string, string] => [
      'policy',
      plainLine(`${name === '' ? '(unnamed)' : name} ${sha256}${differs(executor, name, own)}`),
    ]),
  ];
  const title = `${paint('bold', plainLine(`executor ${identity.slice(identity.lastIndexOf('/') + 1)}`))} ${state}`;
  return `${[title, ...rows.map(([key, value]) => `  ${key.padEnd(12)}${value}`)].join('\n')}\n`;
}

function describeAway({ absence, running }: ExecutorStatus): string {
  if (absence === undefined) return 'away';
  const runs = running === 1 ? '1 run' : `${running} runs`;
  return `away since ${formatTime(absence.since)}, ${runs} there, LOST at ${formatTime(absence.lostAt)}`;
}

function differs({ differing }: ExecutorStatus, name: string, own: ReadonlyMap<string, string>): string {
  if (!differing.includes(name)) return '';
  return ` DIFFERS: the gate decides by ${own.get(name) ?? 'another one'}, and this host runs nothing under it`;
}

const intentShown = 40;

function describeWaiting({ waiting, waitingTotal, admin }: GetStatusResponse): string {
  const whose = admin ? 'executions wait' : 'of your executions wait';
  const title = `${createPaint(process.stdout)('bold', String(waitingTotal))} ${whose}\n`;
  if (waiting.length === 0) return title;
  const head = [
    'EXECUTION',
    'STATE',
    ...(admin ? ['PRINCIPAL'] : []),
    'SUBMITTED',
    'UNTIL',
    'INTENT',
    'WAITS FOR',
  ];
  return `${title}${toTable(
    head,
    waiting.map((it) => toRow(it, admin)),
  )}`;
}

function toRow({ execution, reason, until }: Waiting, admin: boolean): string[] {
  const { executionId = '', state = 0, principal = '', submittedAt, intent = '' } = execution ?? {};
  const shown = intent.length > intentShown ? `${intent.slice(0, intentShown)}…` : intent;
  const cells = [executionId, stateName(state), ...(admin ? [principal] : [])];
  return [...cells, formatTime(submittedAt), formatTime(until), shown, reason];
}

function toJson(status: GetStatusResponse, executors: readonly ExecutorStatus[] | undefined): object {
  return {
    gate_id: status.gateId,
    version: status.version,
    started_at: status.startedAt,
    ...validityJson(status.certificate),
    admin: status.admin,
    ...(status.frozen === undefined ? {} : { frozen: frozenJson(status.frozen) }),
    ...(status.admin ? { policies: status.policies, warnings: status.warnings } : {}),
    ...(executors === undefined ? {} : { executors: executors.map(executorJson) }),
    waiting_total: status.waitingTotal,
    waiting: status.waiting.map(({ execution, reason, until, selector }) => ({
      ...(execution === undefined ? {} : executionJson(execution)),
      waits_for: reason,
      until,
      selector,
    })),
  };
}

function frozenJson({ since, reason, endsRunning }: Frozen): object {
  return { since, reason, running: endsRunning ? 'end' : 'finish' };
}

function executorJson(it: ExecutorStatus): object {
  return {
    identity: it.identity,
    connected: it.connected,
    ...(it.resting === '' ? {} : { resting: it.resting }),
    ...(it.revoked === '' ? {} : { revoked: it.revoked }),
    labels: it.labels,
    slots: it.slots,
    running: it.running,
    ...(it.absence === undefined ? {} : { absence: absenceJson(it.absence) }),
    version: it.version,
    execution_mode: it.executionMode,
    sandbox: it.sandbox,
    policies: it.policies,
    differing: it.differing,
    last_seen: it.lastSeen,
    ...validityJson(it.certificate),
  };
}

function validityJson(certificate: Validity | undefined): object {
  if (certificate === undefined) return {};
  return { certificate: { not_before: certificate.notBefore, not_after: certificate.notAfter } };
}
