import { argvs, type Command, type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { showInvisible } from '@csc-fleet/common/errors';
import { type Paint, plainLine } from '../terminal/text.ts';

/**
 * All of a contract that somebody is to answer for, one member a line: nothing is left out, cut short or invisible.
 * Texts of its author's own (intent, justification) say nothing of what runs; what runs is below `command`.
 * @param columns of the terminal; 0 where it is not known: no line is longer, as a terminal would begin the rest of one where
 *   members begin, and the author of a contract can count
 */
export function describeContract(contract: CommandContract, paint: Paint, columns: number): string {
  const { actor } = contract;
  const width = columns > 0 ? columns : usualColumns;
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
    `${paint('bold', 'Contract')} ${broken(plainLine(contract.contract_id), 9, width)}`,
    ...rows.map((row) => toLine(row, width)),
    ...contract.commands.flatMap((command) => describeCommand(command, paint, width)),
  ].join('\n');
}

function describeCommand(command: Command, paint: Paint, width: number): string[] {
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
  const program = lines.map((line) => broken(line, 6, width)).join('\n    | ');
  return [
    `${paint('bold', 'Command')} ${broken(plainLine(command.id), 8, width)}`,
    `    ${paint('bold', program)}`,
    ...rows.map((row) => toLine(row, width)),
  ];
}

function listed(name: string, values: readonly string[]): [string, string][] {
  return values.length === 0 ? [] : [[name, values.map(quoteArgument).join(' ')]];
}

const nameWidth = 11;

const usualColumns = 80;

// What follows within one member begins where its first line did, so that it cannot pass for another member.
function toLine([name, value]: readonly [string, string], width: number): string {
  return `  ${name.padEnd(nameWidth)}${broken(showInvisible(value), 2 + nameWidth, width)}`;
}

/** Broken before the terminal does it, and each line but the first indented. */
function broken(text: string, indent: number, width: number): string {
  const room = Math.max(width - indent, 2);
  const lines = text.split('\n').flatMap((line) => cutAt(line, room));
  return lines.join(`\n${' '.repeat(indent)}`);
}

function cutAt(line: string, room: number): string[] {
  const cut: string[] = [''];
  let taken = 0;
  for (const character of line) {
    const cells = cellsOf(character);
    if (taken + cells > room) {
      cut.push('');
      taken = 0;
    }
    cut[cut.length - 1] += character;
    taken += cells;
  }
  return cut;
}

// At most: a tab moves on by up to eight, and what may be wide counts as that (Unicode's East Asian Width).
function cellsOf(character: string): number {
  if (character === '\t') return 8;
  return /[\u1100-\u115f\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\u2e80-\uffff]|[^\u0000-\uffff]/u.test(
    character,
  )
    ? 2
    : 1;
}

/** An argument as it is where it is one plain word, and as a JSON string otherwise: where it begins and ends can be seen. */
function quoteArgument(text: string): string {
  return /^[\w@%+=:,./~^-]+$/.test(text) ? text : showInvisible(JSON.stringify(text));
}
