import { type Fault, quoteBriefly } from '../errors/index.ts';
import {
  type InlineCode,
  joinLooks,
  type Look,
  type Surroundings,
  toWords,
  type Unclear,
  type Word,
} from './look.ts';
import { actsByName, findPrograms, type KnownProgram } from './programs.ts';

/** What an argv is held against. */
export interface CommandRules {
  /** Of the policy. */
  readonly allowCommands: readonly string[];
  /** Whether argv may carry code of its own. */
  readonly inlineCode: boolean;
  /** Who would have to let inline code in, for people. Default: the host's owner. */
  readonly whoMay?: string;
  /** What a program's name stands for where the command runs. Absent: names are taken at their word. */
  readonly resolve?: ResolveProgram;
  /** Whether its stdin is a pipe, as it is for every segment of a pipeline after the first. Default: false. */
  readonly piped?: boolean;
}

/**
 * Everything that makes of an argv something else than it looks: code in place of a file, a wrapper that runs what the
 * policy does not name, a name that stands for an interpreter or a wrapper which the policy does not name. That argv[0]
 * is among the policy's commands is the policy's own rule, and not asked again. Paths are relative to the argv: `[2]`.
 */
export function judgeCommand(argv: readonly string[], rules: CommandRules): readonly Fault[] {
  const { allowCommands, inlineCode, resolve, piped = false, whoMay = ownerMay } = rules;
  const { programs, codes, unclear } = followPrograms(argv, { piped }, resolve);
  return [
    ...(inlineCode ? [] : codes.map((code) => codeFault(code, whoMay))),
    ...unclear.map(unclearFault),
    ...programs.flatMap((program, index) => [
      ...(index === 0 ? [] : wrappedFault(program, allowCommands)),
      ...disguiseFault(program, allowCommands),
    ]),
  ];
}

const ownerMay = "let the host's owner set ceiling.inline_code in the executor's config";

function codeFault({ program, by, at }: InlineCode, whoMay: string): Fault {
  const instead = `put the code into a script file, or ${whoMay}`;
  return {
    path: `[${at}]`,
    message: `is inline code: ${quoteBriefly(program)} takes it by ${by}; ${instead}`,
  };
}

function unclearFault({ program, why, at }: Unclear): Fault {
  const instead = 'write the program that is to run as the command itself';
  return { path: `[${at}]`, message: `hides what is run: ${quoteBriefly(program)} ${why}; ${instead}` };
}

function wrappedFault({ words }: FollowedProgram, allowCommands: readonly string[]): readonly Fault[] {
  const [word] = words;
  if (word === undefined || allowCommands.includes(word.text)) return [];
  const name = quoteBriefly(word.text);
  return [
    {
      path: `[${word.at}]`,
      message: `runs ${name}, which the policy does not allow: name ${name} in allow_commands`,
    },
  ];
}

/** A name that is none of the policy's interpreters and wrappers, and stands for one. */
function disguiseFault(
  { words, resolved }: FollowedProgram,
  allowCommands: readonly string[],
): readonly Fault[] {
  const [word] = words;
  if (word === undefined || resolved === undefined || !allowCommands.includes(word.text)) return [];
  // Most stand for none, and looking up all that a policy names is half of what judging takes.
  const missing = familiesOf(resolved).find(
    (family) => !allowCommands.some((name) => familiesOf(name).includes(family)),
  );
  if (missing === undefined) return [];
  const message = `is ${quoteBriefly(word.text)}, which stands for ${quoteBriefly(resolved)}: name \`${missing}\` in allow_commands to allow that`;
  return [{ path: `[${word.at}]`, message }];
}

function familiesOf(program: string): string[] {
  return findPrograms(program).flatMap(({ family }) => (family === undefined ? [] : [family]));
}

const unpiped: Surroundings = { piped: false };

/**
 * The code that an argv carries in its own words, or takes from a pipe, rather than from a file: `sh -c …`,
 * `timeout 5 python3 -c …`, `… | bash`. Undefined where there is none. By names alone: what a name stands for on a host
 * is `judgeCommand`'s to ask.
 */
export function findInlineCode(
  argv: readonly string[],
  surroundings: Surroundings = unpiped,
): InlineCode | undefined {
  return followPrograms(argv, surroundings).codes[0];
}

/** The programs that the wrappers in an argv would run, each with its arguments, the outermost first. */
export function unwrap(argv: readonly string[]): readonly (readonly string[])[] {
  return findProgramsIn(argv)
    .slice(1)
    .map((words) => words.map(({ text }) => text));
}

/** The words of every program in an argv: its own, and of those that wrappers in it would run. */
export function findProgramsIn(argv: readonly string[]): readonly (readonly Word[])[] {
  return followPrograms(argv, unpiped).programs.map(({ words }) => words);
}

/** Gives the path of the file that a program's name stands for; undefined where there is none or it is not known. */
type ResolveProgram = (program: string) => string | undefined;

/** One program of an argv, the first of them or one that a wrapper runs. */
interface FollowedProgram {
  readonly words: readonly Word[];
  /** What a name stands for where that is another name than its own; otherwise undefined. */
  readonly resolved: string | undefined;
  readonly known: readonly KnownProgram[];
}

/** All that an argv leads to, wrappers in wrappers included. */
interface Followed {
  /** The outermost first. */
  readonly programs: readonly FollowedProgram[];
  readonly codes: readonly InlineCode[];
  readonly unclear: readonly Unclear[];
}

// Nobody wraps that deeply in earnest.
const deepest = 32;
const most = 1000;

/** Follows an argv from program to program. */
function followPrograms(
  argv: readonly string[],
  surroundings: Surroundings,
  resolve: ResolveProgram = () => undefined,
): Followed {
  const programs: FollowedProgram[] = [];
  const looks: Look[] = [];
  let level: readonly (readonly Word[])[] = [toWords(argv)];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > deepest || programs.length + level.length > most) {
      looks.push({ codes: [], runs: [], unclear: [tooDeep(level)] });
      break;
    }
    const found = level.map((words) => identify(words, resolve));
    const seen = joinLooks(found.flatMap((program) => readByRules(program, surroundings)));
    programs.push(...found);
    looks.push(seen);
    level = distinct(seen.runs);
  }
  const { codes, unclear } = joinLooks(looks);
  return { programs, codes, unclear };
}

function identify(words: readonly Word[], resolve: ResolveProgram): FollowedProgram {
  const name = words[0]?.text ?? '';
  const path = resolve(name);
  const resolved = path === undefined || actsByName(name, path) ? undefined : path;
  const known = new Set([...findPrograms(name), ...(resolved === undefined ? [] : findPrograms(resolved))]);
  return { words, resolved, known: [...known] };
}

function readByRules({ words, known }: FollowedProgram, surroundings: Surroundings): Look[] {
  return known.map(({ read }) => read(words, surroundings));
}

// Two rules may see the same program.
function distinct(runs: readonly (readonly Word[])[]): readonly (readonly Word[])[] {
  const seen = new Map(runs.map((words) => [JSON.stringify(words), words]));
  return [...seen.values()];
}

function tooDeep(level: readonly (readonly Word[])[]): Unclear {
  const word = level[0]?.[0];
  return { program: word?.text ?? '', why: 'is wrapped too often to be followed', at: word?.at ?? 0 };
}
