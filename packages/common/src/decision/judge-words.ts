import { posix } from 'node:path';
import {
  type CommandRules,
  findProgramsIn,
  type GivenOption,
  type Invocation,
  judgeCommand,
  readInvocation,
  spellOption,
  type Word,
} from '../command-rules/index.ts';
import { argvs, type Command } from '../contract/index.ts';
import { type AllowRule, isNamedProgram, type Policy } from '../policy/index.ts';
import { allowed, type CommandFinding, noFindings, shown } from './finding.ts';

/** What is known of the hosts that may run a contract. */
export interface HostRules {
  /** Whether they let inline code in; unless their owner says so, they do not. */
  readonly inlineCode: boolean;
}

/**
 * What only a v0.2 policy can say of the words of a command, and what every host refuses in them: programs in wrappers
 * that the policy does not name, inline code where the policy or the host denies it, and what its `allow` does not list.
 * A lint, as all that reads words: the boundary is the sandbox.
 * @param host absent: not known, so that inline code is for each host to say where the policy leaves it to them
 */
export function judgeWords(
  command: Command,
  policy: Policy,
  host?: HostRules,
  { terminal: typed = false }: { readonly terminal?: boolean } = {},
): readonly CommandFinding[] {
  if (policy.policy_schema_version === 'csc.policy.v0.1') return noFindings;
  const { allow: rules = [], inline_code: inline } = policy;
  const denied = inline === 'deny' || host?.inlineCode === false;
  const whoMay = inline === 'deny' ? 'change inline_code of the policy' : undefined;
  return [
    ...judgePrograms(command, policy, {
      inlineCode: !denied,
      typed,
      ...(whoMay === undefined ? {} : { whoMay }),
    }),
    ...argvsWithMembers(command).flatMap(({ argv, member }) =>
      findProgramsIn(argv).flatMap((words) => judgeProgram(words, command.cwd, rules, member)),
    ),
  ];
}

/** What hosts refuse in the words of a command whatever a v0.1 policy says of it. */
export function judgeForHosts(command: Command, policy: Policy, host: HostRules): CommandFinding[] {
  return policy.policy_schema_version === 'csc.policy.v0.1' ? judgePrograms(command, policy, host) : [];
}

function judgePrograms(
  command: Command,
  { allow_commands: allowCommands }: Policy,
  { typed = false, ...rules }: Pick<CommandRules, 'inlineCode' | 'whoMay'> & { readonly typed?: boolean },
): CommandFinding[] {
  return argvsWithMembers(command).flatMap(({ argv, member, piped }) =>
    // What is typed may be code, as what a pipe brings.
    judgeCommand(argv, { allowCommands, piped: piped || typed, ...rules }).map(({ path, message }) =>
      denial(`${member}${path}`, `argv${path} ${message}`),
    ),
  );
}

function argvsWithMembers(command: Command) {
  return argvs(command).map((argv, index) => ({
    argv,
    piped: index > 0,
    member: command.exec === undefined ? `pipeline.segments[${index}].argv` : 'exec.argv',
  }));
}

function denial(member: string, message: string): CommandFinding {
  return { reasonCode: 'COMMAND_NOT_ALLOWED', member, message: `command not allowed: ${message}` };
}

function judgeProgram(
  words: readonly Word[],
  cwd: string,
  all: readonly AllowRule[],
  member: string,
): CommandFinding[] {
  const [word] = words;
  const rules = all.filter(({ program }) => isNamedProgram(word?.text ?? '', program));
  if (word === undefined || rules.length === 0) return [];
  const place = `${member}[${word.at}]`;
  const readings = readInvocation(words);
  if (readings.kind === 'unclear') return [denial(place, `${shown(word.text)} ${readings.why}`)];
  const told = readings.invocations.flatMap((invocation) => explain(word.text, invocation, cwd, rules) ?? []);
  return [...new Set(told)].map((message) => denial(place, message));
}

/** Why none of the rules lets an invocation pass; undefined where one does. */
function explain(
  program: string,
  invocation: Invocation,
  cwd: string,
  rules: readonly AllowRule[],
): string | undefined {
  const called = [program, ...(invocation.guessed ? invocation.path.slice(0, 1) : invocation.path)]
    .map(shown)
    .join(' ');
  const about = rules.filter(({ subcommands }) => isAbout(invocation, subcommands));
  const objections = about.map((rule) => findObjection(program, invocation, cwd, rule));
  if (objections.includes(undefined)) return undefined;
  const [objection] = objections;
  if (objection !== undefined) return `${called} ${objection}`;
  return `${called}${allowed(rules.flatMap(({ subcommands = [] }) => subcommands.map((it) => `${program} ${it}`)))}`;
}

function isAbout({ path, guessed }: Invocation, subcommands: readonly string[] | undefined): boolean {
  return (
    subcommands === undefined ||
    subcommands.some((entry) => {
      const names = entry.split(' ');
      const below = names.at(-1) === '*';
      const wanted = below ? names.slice(0, -1) : names;
      const enough = below || guessed ? path.length >= wanted.length : path.length === wanted.length;
      return enough && wanted.every((name, index) => path[index] === name);
    })
  );
}

function findObjection(
  program: string,
  { path, options, operands, paths, open }: Invocation,
  cwd: string,
  rule: AllowRule,
): string | undefined {
  const { options: only, deny_options: denied = [], deny_operands: deniedOperands = [] } = rule;
  if (open && (only !== undefined || denied.length > 0 || deniedOperands.length > 0))
    return 'takes words from input, which may be anything';
  const spell = (names: readonly string[] = []) => names.map((name) => spellOption(program, path, name));
  // Before the subcommand an option is the program's own, of whatever name it is behind it: -C of git log is another.
  const globals = [...(rule.global_options ?? []), ...spell(rule.global_options)];
  const refused = options.find(
    (option) =>
      (option.careful && !globals.includes(option.name)) ||
      spell(denied).some((name) => mayBe(option, name)) ||
      (only !== undefined && !option.harmless && !option.careful && !spell(only).includes(option.name)),
  );
  if (refused !== undefined) return `with ${shown(refused.name)}${only === undefined ? '' : allowed(only)}`;
  const operand = operands.find((it) => deniedOperands.some((entry) => isOperand(it, entry, paths, cwd)));
  return operand === undefined ? undefined : `with ${shown(operand)}`;
}

/** What the table does not list may be cut short, and it lists no `--no-…` of its own. */
function mayBe({ name, listed }: GivenOption, denied: string): boolean {
  const isOpen = !listed || name.startsWith('--no-');
  return name === denied || (isOpen && /^--./.test(name) && denied.startsWith(name));
}

function isOperand(operand: string, entry: string, paths: boolean, cwd: string): boolean {
  if (!paths) return match(operand, entry, anyCharacter) === 'whole';
  const [path, denied] = [posix.resolve(cwd, operand), posix.resolve(cwd, entry)];
  // Removing a directory removes what lies in it.
  const below = path === '/' ? path : `${path}/`;
  return match(path, denied, inName) === 'whole' || match(below, denied, inName) !== 'none';
}

const anyCharacter = (): boolean => true;
// Otherwise all below the working directory would be what has a file of such a name in it, for all that is known.
const inName = (character: string): boolean => character !== '/';

/** Whether a pattern, whose `*` is any number of such characters, fits a text, or else some that begin with it. */
function match(
  text: string,
  pattern: string,
  isStarred: (character: string) => boolean,
): 'whole' | 'begin' | 'none' {
  // The places in the pattern that what was read so far may have come to (Thompson's simulation of an automaton).
  let places = passStars(new Set([0]), pattern);
  for (const character of text) {
    const next = new Set<number>();
    for (const place of places) {
      if (pattern[place] === '*' ? isStarred(character) : pattern.startsWith(character, place))
        next.add(pattern[place] === '*' ? place : place + character.length);
    }
    places = passStars(next, pattern);
  }
  if (places.has(pattern.length)) return 'whole';
  return places.size > 0 ? 'begin' : 'none';
}

function passStars(places: Set<number>, pattern: string): Set<number> {
  // What is added meanwhile is looked at, too.
  for (const place of places) if (pattern[place] === '*') places.add(place + 1);
  return places;
}
