import { fileName, findLong, type Grammar, isListed, toList } from './grammar.ts';
import type { Word } from './look.ts';
import { type Option, type Scan, scanOptions } from './scan-options.ts';
import { plainTools, subcommandTools } from './subcommand-table.ts';
import type { PlainTool, SubcommandDetail, SubcommandTool } from './subcommand-tool.ts';

/** What one program is asked to do by its own words, spelt in one way only. */
export interface Invocation {
  /** Its subcommand, the one of that too: `['stash', 'list']`. Empty where it has none. */
  readonly path: readonly string[];
  /** The path is a guess by the words alone, as this version does not know the tool: a rule needs only its beginning. */
  readonly guessed: boolean;
  readonly options: readonly GivenOption[];
  readonly operands: readonly string[];
  /** Operands are paths. */
  readonly paths: boolean;
  /** Some words come from input, so that options and operands may be anything. */
  readonly open: boolean;
}

/** An option, spelt out. */
export interface GivenOption {
  /** With its dashes, in the longer of two forms: `--force` of `-f`, of `--forc` and of `+main`. */
  readonly name: string;
  /** The table knows it; otherwise it may be cut short. */
  readonly listed: boolean;
  /** It is the program's, not the subcommand's, and changes what it works with: rules must name it. */
  readonly careful: boolean;
  /** It is the program's, and changes nothing that a rule is about. */
  readonly harmless: boolean;
}

/** Every way in which a program may read its words, or why that cannot be told. */
export type Readings =
  | { readonly kind: 'clear'; readonly invocations: readonly Invocation[] }
  | { readonly kind: 'unclear'; readonly why: string };

/** Reads the words of a program, its name first, by the table of tools. */
export function readInvocation(words: readonly Word[]): Readings {
  const tool = findSubcommandTool(words[0]?.text ?? '');
  if (tool?.several) return readTargets(words, tool);
  if (tool !== undefined) return readTool(words, tool);
  const plain = findPlainTool(words[0]?.text ?? '');
  return plain === undefined ? guess(words) : readPlain(words, plain);
}

function findSubcommandTool(program: string): SubcommandTool | undefined {
  const name = fileName(program);
  return subcommandTools.find(({ names }) => names.test(name));
}

function findPlainTool(program: string): PlainTool | undefined {
  return plainTools.find(({ names }) => names.test(fileName(program)));
}

/**
 * What is wrong with the subcommands of a rule, for people; undefined where nothing is. An argv is held against the one
 * spelling of a subcommand that the table has, so that a rule with another would never be met.
 */
export function findSpellingFault(program: string, subcommand: string): string | undefined {
  if (findPlainTool(program) !== undefined) return `${fileName(program)} has no subcommands`;
  const tool = findSubcommandTool(program);
  const [name = ''] = subcommand.split(' ');
  if (tool === undefined) return undefined;
  const [meant = name, ...others] = resolveName(name, tool);
  if (others.length > 0) return `${name} is short for ${[meant, ...others].join(' and ')}: write one out`;
  return meant === name ? undefined : `${name} is another name of ${meant}: write ${meant}`;
}

/** An option of a rule in the spelling that invocations have: `--force` for `-f` of git push. */
export function spellOption(program: string, path: readonly string[], option: string): string {
  const tool = findSubcommandTool(program);
  const detail = tool === undefined ? undefined : detailOf(tool, path);
  const same = detail?.same ?? findPlainTool(program)?.same;
  const grammar = detail?.grammar ?? tool?.behind ?? tool?.grammar;
  const bare = option.replace(/^-/, '');
  if (grammar?.singleDash && !option.startsWith('--') && findLong(grammar, bare).length > 0)
    return `--${bare}`;
  return spelt(option, same);
}

function spelt(name: string, same = ''): string {
  const pair = toList(same).find((it) => name === `-${it[0]}`);
  return pair === undefined ? name : `--${pair.slice(2)}`;
}

/** Every subcommand of a program that a word may mean: `exec` of npm for `exe`; the word itself where no table knows it. */
export function meantBy(program: string, word: string): readonly string[] {
  const tool = findSubcommandTool(program);
  return tool === undefined ? [word] : resolveName(word, tool);
}

/** Every subcommand that a word may mean; the word itself where the table knows none. */
function resolveName(word: string, tool: SubcommandTool): readonly string[] {
  const { commands = '', aliases = '', abbreviates, fold } = tool;
  const text = fold === undefined ? word : fold(word);
  if (isListed(text, commands)) return [text];
  const pairs = toList(aliases).map((it) => it.split(':'));
  const alias = pairs.find(([name]) => name === text);
  if (alias !== undefined) return alias.slice(1);
  if (!abbreviates || text === '') return [text];
  const meant = [
    ...toList(commands).filter((it) => it.startsWith(text)),
    ...pairs.flatMap(([name = '', of = '']) => (name.startsWith(text) ? [of] : [])),
  ];
  return meant.length === 0 ? [text] : [...new Set(meant)];
}

function detailOf({ details = {} }: SubcommandTool, path: readonly string[]): SubcommandDetail | undefined {
  const found = [path.join(' '), path[0] ?? ''].find((it) => Object.hasOwn(details, it));
  return found === undefined ? undefined : details[found];
}

function readTool(given: readonly Word[], tool: SubcommandTool): Readings {
  const words = withoutLeading(given, tool);
  const { permutes: _, ...grammar } = tool.grammar;
  const scan = scanOptions(words, grammar);
  const unclear = findUnclear(scan.options, scan.unlisted);
  if (unclear !== undefined) return { kind: 'unclear', why: `${unclear} before its subcommand` };
  if (scan.open !== undefined)
    return { kind: 'unclear', why: 'takes its subcommand, or options before it, from input' };
  return join(scan.operands.map((place) => readSubcommand(words, place, scan.options, tool)));
}

function withoutLeading(words: readonly Word[], { leading }: SubcommandTool): readonly Word[] {
  const [program, first, ...rest] = words;
  if (leading === undefined || program === undefined || first === undefined || !leading.test(first.text))
    return words;
  return [program, ...rest];
}

// An option that takes the next word takes one that looks like an option in some versions, and none in others.
function findUnclear(options: readonly Option[], unlisted: readonly Option[]): string | undefined {
  const [unknown] = unlisted;
  if (unknown !== undefined) return `is given ${unknown.name}, an option that this version does not know,`;
  const doubtful = options.find(
    ({ value, word }) => value !== undefined && value.at !== word.at && /^-./.test(value.text),
  );
  return doubtful && `is given ${doubtful.name} with what may be its value or another option`;
}

function join(parts: readonly Readings[]): Readings {
  const unclear = parts.find(({ kind }) => kind === 'unclear');
  if (unclear !== undefined) return unclear;
  return {
    kind: 'clear',
    invocations: parts.flatMap((part) => (part.kind === 'clear' ? part.invocations : [])),
  };
}

function readSubcommand(
  words: readonly Word[],
  place: number,
  before: readonly Option[],
  tool: SubcommandTool,
): Readings {
  const own = before.map((option) => ownOption(option, tool));
  const word = words[place];
  const nothing = { guessed: false, operands: [], paths: false, open: false };
  // `git --version` is `git version`.
  if (word === undefined)
    return { kind: 'clear', invocations: [{ ...nothing, path: bareCall(before), options: own }] };
  const rest = words.slice(place);
  return join(
    resolveName(word.text, tool).map((name) =>
      isListed(name, tool.groups) ? readGroup(rest, name, own, tool) : readBehind(rest, [name], own, tool),
    ),
  );
}

function bareCall(options: readonly Option[]): string[] {
  const names = options.map(({ name }) => name);
  if (names.some((name) => isListed(name, '--version -v -V'))) return ['version'];
  return names.some((name) => isListed(name, '--help -h')) ? ['help'] : [];
}

/** `stash list`: the word after a group, options left out, is a subcommand too. Where options may take it, both count. */
function readGroup(
  words: readonly Word[],
  name: string,
  own: readonly GivenOption[],
  tool: SubcommandTool,
): Readings {
  const { permutes: _, ...grammar } =
    detailOf(tool, [name])?.grammar ?? (tool.everywhere ? tool.grammar : { short: '' });
  const scan = scanOptions(words, grammar);
  if (scan.open !== undefined) return { kind: 'unclear', why: `takes the subcommand of ${name} from input` };
  const between = scan.options.map((option) => given(option, scan.unlisted, tool, undefined));
  const detail = detailOf(tool, [name]);
  const act = actOf(scanOptions(words, { ...grammar, permutes: true }), detail);
  if (act !== undefined) return readBehind(words, [name, act], own, tool);
  const bare = scan.unlisted.length > 0 ? [words.length] : [];
  return join(
    [...new Set([...scan.operands, ...bare])].map((place) => {
      const nested = words[place];
      if (nested === undefined) return readBehind(words, [name], own, tool);
      const [usual] = toList(detail?.nested ?? '');
      if (usual !== undefined && !isListed(nested.text, detail?.nested))
        return readBehind(words, [name, usual], own, tool);
      return readBehind(words.slice(place), [name, nested.text], [...own, ...between], tool);
    }),
  );
}

/** The subcommand that the options of a group are, where they say one and all of them are known. */
function actOf({ options, unlisted }: Scan, detail: SubcommandDetail | undefined): string | undefined {
  if (detail?.acts === undefined || unlisted.length > 0) return undefined;
  const pairs = toList(detail.acts).map((it) => it.split(':'));
  const said = options.flatMap(
    ({ name }) => pairs.find(([option]) => name.replace(/^--?/, '') === option)?.[1] ?? [],
  );
  return new Set(said).size === 1 ? said[0] : undefined;
}

/** What follows the subcommand; the first of `words` is the last word of its name. */
function readBehind(
  words: readonly Word[],
  path: readonly string[],
  own: readonly GivenOption[],
  tool: SubcommandTool,
): Readings {
  const { everywhere, behind } = tool;
  const detail = detailOf(tool, path);
  const open: Grammar = { short: '', permutes: true };
  const grammar =
    detail?.grammar ?? (everywhere ? { ...tool.grammar, permutes: true as const } : (behind ?? open));
  const scan = scanOptions(words, grammar);
  const [unknown] = scan.unlisted;
  if (unknown !== undefined && (detail === undefined ? everywhere : detail.closed))
    return {
      kind: 'unclear',
      why: `is given ${unknown.name}, an option of ${path.join(' ')} that this version does not know`,
    };
  const operands = operandsOf(words, scan.operands);
  const implied = (detail?.implied ?? [])
    .filter(({ operand }) => operands.some((it) => operand.test(it)))
    .map(({ option }) => ({ name: option, listed: true, careful: false, harmless: false }));
  const options = scan.options.map((option) => given(option, scan.unlisted, tool, detail));
  const invocation = {
    path,
    guessed: false,
    options: [...own, ...options, ...implied],
    operands,
    paths: false,
    open: words.some((word) => word.unknown),
  };
  return { kind: 'clear', invocations: [invocation] };
}

function ownOption({ name }: Option, { careful, everywhere }: SubcommandTool): GivenOption {
  const isCareful = isListed(name, careful);
  return { name, listed: true, careful: isCareful, harmless: !isCareful && everywhere === undefined };
}

function given(
  option: Option,
  unlisted: readonly Option[],
  tool: SubcommandTool,
  detail: SubcommandDetail | undefined,
): GivenOption {
  const name = spelt(option.name, detail?.same);
  const listed = !unlisted.some((it) => it.name === option.name && it.word === option.word);
  const careful = tool.everywhere === true && isListed(option.name, tool.careful);
  return { name, listed, careful, harmless: false };
}

/** From each place where operands may begin that one, and from a `--` on all. */
function operandsOf(words: readonly Word[], places: readonly number[]): string[] {
  const found = places.flatMap((place) =>
    words[place - 1]?.text === '--' ? words.slice(place) : words.slice(place, place + 1),
  );
  return found.map(({ text }) => text);
}

/** Each operand of make is a target, and each must be allowed. */
function readTargets(words: readonly Word[], tool: SubcommandTool): Readings {
  const scan = scanOptions(words, tool.grammar);
  const unclear = findUnclear(scan.options, scan.unlisted);
  if (unclear !== undefined) return { kind: 'unclear', why: unclear };
  if (scan.open !== undefined) return { kind: 'unclear', why: 'takes its targets from input' };
  const options = scan.options.map((option) => ownOption(option, tool));
  const targets = operandsOf(words, scan.operands);
  const shared = { guessed: false, options, operands: [], paths: false, open: false };
  const paths = targets.length === 0 ? [[]] : targets.map((target) => [target]);
  return { kind: 'clear', invocations: paths.map((path) => ({ ...shared, path })) };
}

function readPlain(words: readonly Word[], { grammar, same, paths }: PlainTool): Readings {
  const scan = scanOptions(words, grammar);
  const [unknown] = scan.unlisted;
  if (unknown !== undefined)
    return { kind: 'unclear', why: `is given ${unknown.name}, an option that this version does not know` };
  const options = scan.options.map(({ name }) => ({
    name: spelt(name, same),
    listed: true,
    careful: false,
    harmless: false,
  }));
  const operands = operandsOf(words, scan.operands);
  const open = words.some((word) => word.unknown);
  return {
    kind: 'clear',
    invocations: [{ path: [], guessed: false, options, operands, paths: paths === true, open }],
  };
}

/** A tool that no table knows: its subcommand is its very first words, so that nothing can stand before it. */
function guess(words: readonly Word[]): Readings {
  const scan = scanOptions(words, { short: '', permutes: true });
  const [, ...rest] = words;
  const end = rest.findIndex(({ text, unknown }) => unknown === true || text.startsWith('-'));
  const path = (end < 0 ? rest : rest.slice(0, end)).map(({ text }) => text);
  const options = scan.options.map(({ name }) => ({ name, listed: false, careful: false, harmless: false }));
  const operands = operandsOf(words, scan.operands);
  const open = words.some((word) => word.unknown);
  return { kind: 'clear', invocations: [{ path, guessed: true, options, operands, paths: false, open }] };
}
