import { findProgramsIn, readInvocation, spellOption } from '../command-rules/index.ts';
import { type AllowRule, isNamedProgram, type Policy } from '../policy/index.ts';
import { type Doubt, missingFrom } from './doubt.ts';
import type { Variation } from './questions.ts';

/** What the rules about argvs let through more: programs, denied prefixes, `allow`, inline code. */
export function findWordDoubts(old: Policy, now: Policy): Doubt[] {
  const shared = now.allow_commands.filter((it) => old.allow_commands.includes(it));
  return [
    ...missingFrom(old.allow_commands, now.allow_commands).map((program) => ({
      about: `allow_commands ${program}`,
      tries: argvsOf(program, now).map(toVariation),
    })),
    ...old.deny_argv_prefixes
      .filter((prefix) => !isDenied(prefix, now))
      .map((prefix) => ({
        about: `the old policy's deny_argv_prefixes ${prefix.join(' ')}`,
        tries: continuations(prefix, now).map(toVariation),
      })),
    ...shared.flatMap((program) => findRuleDoubts(program, old, now)),
    ...findInlineDoubts(old, now),
  ];
}

/** Argvs of a program that a policy may allow: plain, and as its rules have them. */
export function argvsOf(program: string, { allow = [] }: Policy): string[][] {
  const rules = allow.filter((rule) => isNamedProgram(program, rule.program));
  return [
    [program],
    ...rules.flatMap(({ subcommands = [] }) => subcommands.map((it) => [program, ...wordsOf(it)])),
    [program, 'operand'],
  ];
}

const toVariation = (argv: readonly string[]): Variation => ({ argvs: [argv] });

// `stash *` is stash and all below it.
function wordsOf(subcommand: string): string[] {
  return subcommand.split(' ').filter((it) => it !== '*');
}

/** Whether the policy surely denies every argv that begins so. */
function isDenied(
  prefix: readonly string[],
  { allow_commands: programs, deny_argv_prefixes: prefixes, allow = [] }: Policy,
): boolean {
  const [program = '', ...words] = prefix;
  if (!programs.includes(program)) return true;
  if (prefixes.some((it) => it.every((word, at) => prefix[at] === word))) return true;
  const rules = allow.filter((rule) => isNamedProgram(program, rule.program));
  // Behind an option words may mean anything, and so may those of a wrapper.
  if (
    rules.length === 0 ||
    words.length === 0 ||
    words.some((it) => it.startsWith('-')) ||
    findProgramsIn(prefix).length > 1
  )
    return false;
  const readings = readInvocation(prefix.map((text, at) => ({ text, at })));
  if (readings.kind === 'unclear') return false;
  // What was read as the subcommand stays one, whatever comes behind it.
  return readings.invocations.some(
    ({ path: [first], guessed }) =>
      first !== undefined &&
      !guessed &&
      rules.every(({ subcommands }) => subcommands?.every((it) => it.split(' ')[0] !== first) === true),
  );
}

function continuations(prefix: readonly string[], now: Policy): string[][] {
  const [program = ''] = prefix;
  const ends = [[], ['operand'], ...argvsOf(program, now).map(([, ...words]) => words)];
  return ends.map((end) => [...prefix, ...end]);
}

function findRuleDoubts(program: string, old: Policy, now: Policy): Doubt[] {
  const [before, after] = [old, now].map(({ allow = [] }) =>
    allow.filter((rule) => isNamedProgram(program, rule.program)),
  );
  if (before === undefined || after === undefined || before.length === 0) return [];
  // Without a rule nothing is held against its words; with any, what cannot be read is denied.
  if (after.length === 0) {
    const unreadable = [
      [program, '-C'],
      [program, '--no-such-option'],
    ];
    const tries = [...witnesses([program], { program }, before, true), ...unreadable].map(toVariation);
    return [{ about: `no allow ${program} (any)`, tries }];
  }
  return after.flatMap((rule) =>
    (rule.subcommands ?? [undefined]).flatMap((subcommand) => {
      if (before.some((it) => coversRule(it, rule, subcommand))) return [];
      const words = [program, ...(subcommand === undefined ? [] : wordsOf(subcommand))];
      return [
        {
          about: `allow ${[program, subcommand ?? '(any)'].join(' ')}`,
          tries: witnesses(words, rule, before, subcommand === undefined).map(toVariation),
        },
      ];
    }),
  );
}

/**
 * Whether one old rule lets through all that a new one does under one of its subcommands. What a rule lets through is
 * bounded in each option and in each operand by itself, so that where no single old rule does, an argv with something
 * against each of them is let through by none.
 */
export function coversRule(outer: AllowRule, inner: AllowRule, subcommand: string | undefined): boolean {
  const path = subcommand === undefined ? [] : wordsOf(subcommand);
  const spell = (names: readonly string[] = []): string[] =>
    names.map((it) => spellOption(inner.program, path, it));
  const [only, onlyInner] = [outer, inner].map(({ options }) =>
    options === undefined ? undefined : spell(options),
  );
  const denied = spell(outer.deny_options);
  const deniedInner = spell(inner.deny_options);
  return (
    coversSubcommand(outer.subcommands, subcommand) &&
    (only === undefined || onlyInner?.every((it) => only.includes(it)) === true) &&
    denied.every(
      (it) =>
        deniedInner.includes(it) ||
        (onlyInner?.every((option) => !it.startsWith(option)) === true &&
          !isHarmless(inner.program, it, path)),
    ) &&
    missingFrom(spell(outer.global_options), spell(inner.global_options)).length === 0 &&
    missingFrom(inner.deny_operands ?? [], outer.deny_operands ?? []).length === 0
  );
}

// Such an option passes whatever a rule lists, if no rule denies it.
function isHarmless(program: string, option: string, path: readonly string[]): boolean {
  const readings = readInvocation([program, option, ...path].map((text, at) => ({ text, at })));
  return (
    readings.kind === 'clear' &&
    readings.invocations.some(({ options }) => options.some(({ harmless }) => harmless))
  );
}

function coversSubcommand(outer: readonly string[] | undefined, inner: string | undefined): boolean {
  if (outer === undefined) return true;
  if (inner === undefined) return false;
  return outer.some((it) => {
    if (it === inner) return true;
    const names = wordsOf(it);
    return it.endsWith(' *') && names.every((name, at) => wordsOf(inner)[at] === name);
  });
}

/** Argvs with something against each old rule, which the new one may let through. */
function witnesses(
  words: readonly string[],
  rule: AllowRule,
  before: readonly AllowRule[],
  isAny: boolean,
): string[][] {
  const options = [
    ...(rule.options ?? []),
    ...before.flatMap(({ deny_options: denied = [] }) => denied),
    ...(rule.options === undefined ? ['--an-option'] : []),
  ];
  const operands = before.flatMap(({ deny_operands: denied = [] }) =>
    denied.map((it) => it.replaceAll('*', 'x')),
  );
  const globals = rule.global_options ?? [];
  const [program = '', ...rest] = words;
  const ends = [
    [],
    ...options.map((it) => [it]),
    ...operands.map((it) => [it]),
    options,
    operands,
    [...options, ...operands],
  ];
  const plain = ends.map((end) => [...words, ...end]);
  return [
    ...plain,
    ...globals.flatMap((it) => [
      [program, it, ...rest],
      [program, it, 'x', ...rest],
    ]),
    ...(isAny
      ? [
          [program, 'another'],
          [program, 'another', 'below'],
        ]
      : []),
  ];
}

const code = 'x';
const inlineForms = [
  ['-c', code],
  ['-e', code],
  [code],
  ['-exec', 'sh', '-c', code, ';'],
  ['--eval', code],
  ['-c', 'core.pager=x', 'log'],
];

function findInlineDoubts(old: Policy, now: Policy): Doubt[] {
  const [before, after] = [old.inline_code === 'deny', now.inline_code === 'deny'];
  if (!before || after) return [];
  const programs = now.allow_commands;
  return [
    {
      about: 'inline_code',
      tries: programs.flatMap((program) => [
        ...inlineForms.map((words) => toVariation([program, ...words])),
        ...programs.slice(0, 1).map((first) => ({ argvs: [[first], [program]] })),
      ]),
    },
  ];
}
