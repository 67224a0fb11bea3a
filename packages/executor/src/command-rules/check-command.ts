import { type Fault, quoteBriefly } from '@csc-fleet/common/errors';
import type { InlineCode, Unclear } from './look.ts';
import { findPrograms } from './programs.ts';
import { type Resolve, type TracedProgram, tracePrograms } from './trace-programs.ts';

/** What an argv is held against. */
export interface CommandRules {
  /** Of the policy. */
  readonly allowCommands: readonly string[];
  /** Whether argv may carry code of its own. */
  readonly inlineCode: boolean;
  /** What a program's name stands for where the command runs. Absent: names are taken at their word. */
  readonly resolve?: Resolve;
  /** Whether its stdin is a pipe, as it is for every segment of a pipeline after the first. Default: false. */
  readonly piped?: boolean;
}

/**
 * Everything that makes of an argv something else than it looks: code in place of a file, a wrapper that runs what the
 * policy does not name, a name that stands for an interpreter or a wrapper which the policy does not name. That argv[0]
 * is among the policy's commands is the policy's own rule, and not asked again. Paths are relative to the argv: `[2]`.
 */
export function checkCommand(argv: readonly string[], rules: CommandRules): readonly Fault[] {
  const { allowCommands, inlineCode, resolve, piped = false } = rules;
  const { programs, codes, unclear } = tracePrograms(argv, { piped }, resolve);
  return [
    ...(inlineCode ? [] : codes.map(codeFault)),
    ...unclear.map(unclearFault),
    ...programs.flatMap((program, index) => [
      ...(index === 0 ? [] : wrappedFault(program, allowCommands)),
      ...disguiseFault(program, allowCommands),
    ]),
  ];
}

function codeFault({ program, by, at }: InlineCode): Fault {
  const instead =
    "put the code into a script file, or let the host's owner set ceiling.inline_code in the executor's config";
  return {
    path: `[${at}]`,
    message: `is inline code: ${quoteBriefly(program)} takes it by ${by}; ${instead}`,
  };
}

function unclearFault({ program, why, at }: Unclear): Fault {
  const instead = 'write the program that is to run as the command itself';
  return { path: `[${at}]`, message: `hides what is run: ${quoteBriefly(program)} ${why}; ${instead}` };
}

function wrappedFault({ words }: TracedProgram, allowCommands: readonly string[]): readonly Fault[] {
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
  { words, resolved }: TracedProgram,
  allowCommands: readonly string[],
): readonly Fault[] {
  const [word] = words;
  if (word === undefined || resolved === undefined || !allowCommands.includes(word.text)) return [];
  const families = familiesOf(resolved);
  const named = new Set(allowCommands.flatMap(familiesOf));
  const missing = families.find((family) => !named.has(family));
  if (missing === undefined) return [];
  const message = `is ${quoteBriefly(word.text)}, which stands for ${quoteBriefly(resolved)}: name \`${missing}\` in allow_commands to allow that`;
  return [{ path: `[${word.at}]`, message }];
}

function familiesOf(program: string): string[] {
  return findPrograms(program).flatMap(({ family }) => (family === undefined ? [] : [family]));
}
