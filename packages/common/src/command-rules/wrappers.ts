import { type Grammar, isListed, type ProgramNames } from './grammar.ts';
import { meantBy } from './invocation.ts';
import {
  joinLooks,
  type Look,
  madeFrom,
  nothingSeen,
  type Reader,
  seenCode,
  seenRun,
  seenUnclear,
  seenUnknownOption,
  type Word,
} from './look.ts';
import { type Option, type Scan, scanOptions } from './scan-options.ts';

/** A program that runs another, which its own words name. Lists are apart by spaces. */
export interface Wrapper {
  /** What a policy names it by. */
  readonly family: string;
  /** Of the file name. */
  readonly names: ProgramNames;
  /** All that it knows: an option that is not listed is refused, as it may hide where the program begins. */
  readonly grammar: Grammar;
  /** What its first word, before the options, looks like where it is an operand. */
  readonly leading?: RegExp;
  /** Operands before the program: how many, or what a word looks like that is one. */
  readonly before?: number | RegExp;
  /** `NAME=value` words come before the program. */
  readonly assignments?: true;
  /** Options whose value a shell runs; also where they stand in the program's place. */
  readonly code?: string;
  /** Options whose value is the program. */
  readonly programs?: string;
  /** Whether an option brings code in a way that its name alone does not tell. */
  readonly bringsCode?: (option: Option) => boolean;
  /** Options with which it runs nothing. */
  readonly alone?: string;
  /**
   * What it does with a shell: runs one where it is given no program, runs one whose operands follow its own, or hands
   * it its operands as code.
   */
  readonly shell?: 'by default' | 'with operands' | 'on operands';
  /** Options with which its operands are a program after all. */
  readonly noShell?: string;
  /** First operands, as in `npm exec`, after which options and a program come, or code; others run nothing here. */
  readonly commands?: Readonly<Record<string, 'program' | 'code'>>;
}

/** How a wrapper's words are read: which program do they name? */
export function readWrapper(wrapper: Wrapper): Reader {
  return (words) => readWords(withoutLeading(words, wrapper), wrapper);
}

function readWords(words: readonly Word[], wrapper: Wrapper): Look {
  const scan = scanOptions(words, wrapper.grammar);
  return wrapper.commands === undefined
    ? readProgram(words, scan, wrapper)
    : readCommand(words, scan, wrapper, wrapper.commands);
}

function withoutLeading(words: readonly Word[], { leading }: Wrapper): readonly Word[] {
  const [program, first, ...rest] = words;
  if (leading === undefined || program === undefined || first === undefined) return words;
  return leading.test(first.text) ? [program, ...rest] : words;
}

/** `npm --silent exec -- PROGRAM`: options on both sides of the word that says what to do. */
function readCommand(
  words: readonly Word[],
  scan: Scan,
  wrapper: Wrapper,
  commands: Readonly<Record<string, 'program' | 'code'>>,
): Look {
  const { commands: _, ...afterwards } = wrapper;
  // An unlisted option may or may not take the next word, so that there may be several places to look.
  return joinLooks(
    scan.operands.map((place) => {
      const word = words[place];
      // `npm exe` is `npm exec`.
      const meant = meantBy(words[0]?.text ?? '', word?.text ?? '');
      const name = meant.find((it) => Object.hasOwn(commands, it));
      const command = name === undefined ? undefined : commands[name];
      if (word === undefined || command === undefined) return nothingSeen;
      if (command === 'code') return seenCode(words, word.text, word);
      const rest = [words[0] ?? word, ...words.slice(place + 1)];
      return joinLooks([seeOptions(words, scan, wrapper), readWords(rest, afterwards)]);
    }),
  );
}

function readProgram(words: readonly Word[], scan: Scan, wrapper: Wrapper): Look {
  if (scan.options.some(({ name }) => isListed(name, wrapper.alone))) return nothingSeen;
  const places = wrapper.grammar.permutes ? scan.operands.slice(0, 1) : scan.operands;
  return joinLooks([
    seeOptions(words, scan, wrapper),
    ...places.map((place) => readOperands(words, words.slice(place), scan, wrapper)),
  ]);
}

/** What the options alone tell: code, or that it is not known what they mean. */
function seeOptions(words: readonly Word[], { options, unlisted, open }: Scan, wrapper: Wrapper): Look {
  const { code, bringsCode, grammar, programs } = wrapper;
  const [unknown] = grammar.unlisted === 'flag' ? [] : unlisted;
  return joinLooks([
    ...options
      .filter((option) => isListed(option.name, code) || bringsCode?.(option) === true)
      .map(({ name, word }) => seenCode(words, name, word)),
    ...options
      .filter(({ name, value }) => isListed(name, programs) && value !== undefined)
      .map(({ value }) => seenRun(value === undefined ? [] : [value])),
    ...(unknown === undefined ? [] : [seenUnknownOption(words, unknown)]),
    ...(open === undefined ? [] : [takesFromInput(words, open)]),
  ]);
}

function readOperands(words: readonly Word[], operands: readonly Word[], scan: Scan, wrapper: Wrapper): Look {
  const { code, shell, noShell } = wrapper;
  const program = withoutOwn(operands, wrapper);
  const [first] = program;
  const ownShell = madeFrom('sh', words[0] ?? { text: '', at: 0 });
  if (shell === 'with operands') return seenRun([ownShell, ...program]);
  if (first === undefined) return shell === 'by default' ? seenRun([ownShell]) : nothingSeen;
  if (first.unknown) return takesFromInput(words, first);
  if (isListed(first.text, code)) return seenCode(words, first.text, first);
  if (shell === 'on operands' && !scan.options.some(({ name }) => isListed(name, noShell)))
    return seenCode(words, 'operands that a shell reads', first);
  return seenRun(program);
}

/** Something that is run and comes from input, so that no policy can name it. */
export function takesFromInput(words: readonly Word[], word: Word): Look {
  return seenUnclear(words, 'takes the program that it runs from its input', word);
}

/** What is left of the operands after those that are the wrapper's own. */
function withoutOwn(operands: readonly Word[], { before = 0, assignments }: Wrapper): readonly Word[] {
  const own = typeof before === 'number' ? before : before.test(operands[0]?.text ?? '') ? 1 : 0;
  const rest = operands.slice(own);
  // `script FILE -- PROGRAM`
  const program = own > 0 && rest[0]?.text === '--' ? rest.slice(1) : rest;
  return assignments ? withoutAssignments(program) : program;
}

/** What follows the `NAME=value` words. */
export function withoutAssignments(words: readonly Word[]): readonly Word[] {
  const at = words.findIndex(({ text, unknown }) => unknown === true || !text.includes('='));
  return at < 0 ? [] : words.slice(at);
}
