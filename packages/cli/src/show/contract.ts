import { argvs, type Command, type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { showInvisible } from '@csc-fleet/common/errors';
import { type Paint, plainLine } from '../terminal/text.ts';

/**
 * All of a contract that somebody is to answer for, one member a line: nothing is left out, cut short or invisible.
 * Texts of its author's own (intent, justification) say nothing of what runs; what runs is below `command`.
 */
export function describeContract(contract: CommandContract, paint: Paint): string {
  const { actor } = contract;
  const rows: [string, string][] = [
    ['sha256', contractSha256(contract)],
    ['intent', contract.intent],
    ['because', contract.justification],
    ['agent', `${actor.agent_id}, session ${actor.session_id}`],
    ['for', `${actor.initiating_user}, scope ${actor.delegation_scope}`],
    ['risk', contract.risk_class],
    ['approval', contract.approval_mode],
    ...listed('outputs', contract.expected_outputs ?? []),
  ];
  return [
    `${paint('bold', 'Contract')} ${plainLine(contract.contract_id)}`,
    ...rows.map(toLine),
    ...contract.commands.flatMap((command) => describeCommand(command, paint)),
  ].join('\n');
}

function describeCommand(command: Command, paint: Paint): string[] {
  const rows: [string, string][] = [
    ['in', command.cwd],
    ...listed('reads', command.read_paths),
    ...listed('writes', command.write_paths),
    ['network', command.network],
    ...listed('variables', command.env_allow),
    ...listed('secrets', command.secret_refs),
    ['effect', command.proposed_effect_type],
    ['at most', `${command.timeout_sec} s`],
  ];
  const lines = argvs(command).map((argv) => argv.map(quoteArgument).join(' '));
  const program = paint('bold', lines.join('\n    | '));
  return [`${paint('bold', 'Command')} ${plainLine(command.id)}`, `    ${program}`, ...rows.map(toLine)];
}

function listed(name: string, values: readonly string[]): [string, string][] {
  return values.length === 0 ? [] : [[name, values.map(quoteArgument).join(' ')]];
}

const nameWidth = 11;

// What follows within one member begins where its first line did, so that it cannot pass for another member.
function toLine([name, value]: readonly [string, string]): string {
  const indent = ' '.repeat(2 + nameWidth);
  return `  ${name.padEnd(nameWidth)}${showInvisible(value).replaceAll('\n', `\n${indent}`)}`;
}

/** An argument as it is where it is one plain word, and as a JSON string otherwise: where it begins and ends can be seen. */
function quoteArgument(text: string): string {
  return /^[\w@%+=:,./~^-]+$/.test(text) ? text : showInvisible(JSON.stringify(text));
}
