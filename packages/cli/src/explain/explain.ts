import type { EgressHost } from '@csc-fleet/common/schema';
import { type CommandExplanation, type Explanation, explainContract } from '@csc-fleet/executor/explain';
import { exitCodes } from '../exit-codes.ts';
import { createPaint, type Paint } from '../terminal/colour.ts';
import { plainLine } from '../terminal/plain-text.ts';
import { writeJson, writeOut } from '../terminal/streams.ts';

export interface ExplainOptions {
  readonly config: string;
  readonly contract: string;
  /** Absent: under each policy that the executor holds. */
  readonly policy?: string;
  readonly json: boolean;
}

/** Prints what an executor with this config would grant a contract. Resolves to 0 where it could run, else to 1. */
export async function explain({ config, contract, policy, json }: ExplainOptions): Promise<number> {
  const explanations = await explainContract(config, contract, policy);
  const paint = createPaint(process.stdout);
  await (json
    ? writeJson({ explanations })
    : writeOut(`${explanations.map((each) => describe(each, paint)).join('\n\n')}\n`));
  return explanations.some(({ granted }) => granted) ? exitCodes.ok : exitCodes.no;
}

function describe(
  { policy, verdict, reasons, ceiling, commands, granted }: Explanation,
  paint: Paint,
): string {
  const title = granted ? paint(['green', 'bold'], 'GRANTED') : paint(['red', 'bold'], 'NOT GRANTED');
  const approval = granted && verdict === 'needs_approval' ? ', once it is approved' : '';
  return [
    `${title} under policy ${policy}${approval}`,
    ...reasons.map((reason) => `  policy: ${plainLine(reason)}`),
    ...ceiling.map(({ path, message }) => `  ceiling: ${plainLine(`${path} ${message}`)}`),
    ...commands.flatMap(describeCommand),
  ].join('\n');
}

function describeCommand(command: CommandExplanation): string[] {
  const { id, refused, reads, writes, environment, setByPolicy, secrets, network, egress, sandbox, notes } =
    command;
  if (refused !== undefined) return [`  ${id}: cannot run: ${plainLine(refused)}`];
  const limits = sandbox?.limits.map(({ name, value, mechanism }) => `${name} ${value} (${mechanism})`);
  return [
    `  ${id}:`,
    ...list('reads', reads),
    ...list('writes', writes),
    ...list('variables', environment),
    ...list('set by the policy', setByPolicy),
    ...list('secrets', secrets),
    `    network: ${network}`,
    ...(egress ?? []).map(
      (hosts) => `    may reach, of this list: ${hosts.map(describeHost).join(', ') || 'nothing'}`,
    ),
    ...list('limits', limits),
    `    sandbox: ${sandbox?.mechanism}, seccomp ${sandbox?.seccomp_sha256 ?? 'none'}, profile ${command.sandboxProfileId ?? 'none'}`,
    ...list('notes', notes),
  ];
}

function describeHost(host: EgressHost): string {
  return plainLine(typeof host === 'string' ? host : `${host.host} (ech: ${host.ech})`);
}

function list(title: string, items: readonly string[] | undefined): string[] {
  if (items === undefined || items.length === 0) return [];
  return [`    ${title}: ${items.map(plainLine).join(', ')}`];
}
