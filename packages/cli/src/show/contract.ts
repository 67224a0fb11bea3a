import { argvs, type Command, type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { showBeyondAscii, showUnclear } from '@csc-fleet/common/errors';
import type { Paint } from '../terminal/text.ts';

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
    ['risk', contract.risk_class],
    ['approval', contract.approval_mode],
    ...listed('outputs', contract.expected_outputs ?? []),
  ];
  const said: [string, string][] = [
    ['intent', contract.intent],
    ['because', contract.justification],
    ['agent', `${actor.agent_id}, session ${actor.session_id}`],
    ['for', `${actor.initiating_user}, scope ${actor.delegation_scope}`],
  ];
  return [
    `${paint('bold', 'Contract')} ${broken(unclearLine(contract.contract_id), 9, width)}`,
    ...rows.map((row) => toLine(row, width)),
    '  Words of its author, unchecked:',
    ...said.map((row) => toLine(row, width)),
    ...contract.commands.flatMap((command) => describeCommand(command, paint, width)),
  ].join('\n');
}

/** What runs, and what it may touch, a line a member, of any length: to be held against another contract's. */
export function contractLines(contract: CommandContract): string[] {
  const all: [string, string][] = [
    ['risk', contract.risk_class],
    ['approval', contract.approval_mode],
    ...(contract.expected_outputs ?? []).map((it): [string, string] => ['output', quoteArgument(it)]),
  ];
  return [
    ...all.map(([name, value]) => `${name} ${value}`),
    ...contract.commands.flatMap((command) => [
      `command ${quoteArgument(command.id)}`,
      ...linesOf(command).map((line) => `runs ${line}`),
      `in ${quoteArgument(command.cwd)}`,
      ...command.read_paths.map((it) => `reads ${quoteArgument(it)}`),
      ...command.write_paths.map((it) => `writes ${quoteArgument(it)}`),
      `network ${command.network}`,
      ...command.env_allow.map((it) => `variable ${quoteArgument(it)}`),
      ...command.secret_refs.map((it) => `secret ${quoteArgument(it)}`),
      `effect ${command.proposed_effect_type}`,
      `at most ${command.timeout_sec} s`,
    ]),
  ];
}

/**
 * One line of text that is safe to show, broken before the terminal does it, each line but the first indented.
 * @param columns 0 where it is not known
 */
export function wrapLine(line: string, columns: number, indent: number): string {
  const width = columns > 0 ? columns : usualColumns;
  const room = Math.max(width - indent, 2);
  const lines: string[] = [];
  let own = '';
  let taken = 0;
  // Each word is looked at once: a contract may be a MiB of them.
  for (const word of line.split(/(?<= )/)) {
    const cells = widthOf(word);
    const left = (lines.length === 0 ? width : room) - taken;
    // A word that is longer than what is left begins the next line, unless it is longer than that, too.
    if (cells <= left) own += word;
    else if (own.trim() !== '' && cells <= room) {
      lines.push(own.trimEnd());
      own = word;
      taken = 0;
    } else {
      const cut = cutAt(own + word, left + taken, room);
      own = cut.pop() ?? '';
      for (const whole of cut) lines.push(whole);
      taken = widthOf(own) - cells;
    }
    taken += cells;
  }
  return [...lines, own].join(`\n${' '.repeat(indent)}`);
}

function linesOf(command: Command): string[] {
  return argvs(command).map((argv) => argv.map(quoteArgument).join(' '));
}

function rowsOf(command: Command): [string, string][] {
  return [
    ['in', quoteArgument(command.cwd)],
    ...listed('reads', command.read_paths),
    ...listed('writes', command.write_paths),
    ['network', command.network],
    ...listed('variables', command.env_allow),
    ...listed('secrets', command.secret_refs),
    ['effect', command.proposed_effect_type],
    ['at most', `${command.timeout_sec} s`],
  ];
}

function describeCommand(command: Command, paint: Paint, width: number): string[] {
  const program = linesOf(command)
    .map((line) => broken(line, 6, width))
    .join('\n    | ');
  return [
    `${paint('bold', 'Command')} ${broken(unclearLine(command.id), 8, width)}`,
    `    ${paint('bold', program)}`,
    ...rowsOf(command).map((row) => toLine(row, width)),
  ];
}

function listed(name: string, values: readonly string[]): [string, string][] {
  return values.length === 0 ? [] : [[name, values.map(quoteArgument).join(' ')]];
}

const nameWidth = 11;

const usualColumns = 80;

// What follows within one member begins where its first line did, so that it cannot pass for another member.
function toLine([name, value]: readonly [string, string], width: number): string {
  return `  ${name.padEnd(nameWidth)}${broken(showUnclear(value), 2 + nameWidth, width)}`;
}

function unclearLine(text: string): string {
  return showUnclear(text).replace(/\s*[\n\t]\s*/g, ' ');
}

/** Broken before the terminal does it, and each line but the first indented. */
function broken(text: string, indent: number, width: number): string {
  const room = Math.max(width - indent, 2);
  const lines = text.split('\n').flatMap((line) => cutAt(line, room, room));
  return lines.join(`\n${' '.repeat(indent)}`);
}

const characters = /\u001b\[[0-9;]*m|[\s\S]/gu;

function widthOf(text: string): number {
  return (text.match(characters) ?? []).reduce((sum, it) => sum + cellsOf(it), 0);
}

function cutAt(line: string, first: number, room: number): string[] {
  const cut: string[] = [''];
  let taken = 0;
  for (const character of line.match(characters) ?? []) {
    const cells = cellsOf(character);
    if (taken + cells > (cut.length === 1 ? first : room)) {
      cut.push('');
      taken = 0;
    }
    cut[cut.length - 1] += character;
    taken += cells;
  }
  return cut;
}

// At most: a tab moves on by up to eight. Which characters are wide is another matter in each terminal, font and version of
// Unicode (UAX #11 has some everywhere, and leaves Greek and arrows to the terminal): all beyond ASCII count as that.
function cellsOf(character: string): number {
  // What a colour takes is none.
  if (character.length > 2) return 0;
  if (character === '\t') return 8;
  return character > '\u007e' ? 2 : 1;
}

/**
 * An argument as it is where it is one plain word, and as a JSON string otherwise: where it begins and ends can be seen. One with
 * characters beyond ASCII is shown both ways, as letters of two scripts look alike.
 */
export function quoteArgument(text: string): string {
  if (/^[\w@%+=:,./~^-]+$/.test(text)) return text;
  const quoted = showUnclear(JSON.stringify(text));
  const exact = showBeyondAscii(JSON.stringify(text));
  return exact === quoted ? quoted : `${quoted} (exactly ${exact})`;
}
