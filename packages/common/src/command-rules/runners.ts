import { type Grammar, isListed, type ProgramNames } from './grammar.ts';
import {
  joinLooks,
  type Look,
  madeFrom,
  nothingSeen,
  type Reader,
  seenCode,
  seenRun,
  seenUnknownOption,
  type Word,
} from './look.ts';
import { type Option, scanOptions } from './scan-options.ts';
import { takesFromInput, withoutAssignments } from './wrappers.ts';

const envOptions: Grammar = {
  short: 'i0vu:C:S:a:P:',
  long: `ignore-environment null unset= chdir= split-string= block-signal? default-signal? ignore-signal?
    list-signal-handling debug argv0= help version`,
  abbreviations: true,
  dash: 'flag',
};

/** What `env` runs: its `-S` writes a whole command line into one word, and what it sets may be code as well. */
export const readEnv: Reader = (words) => readWords(words, 0);

// Each level of `-S` undoes one of quoting.
const deepest = 8;

function readWords(words: readonly Word[], depth: number): Look {
  const { options, operands, unlisted, open } = scanOptions(words, envOptions);
  const split = options.find(({ name }) => isListed(name, '-S --split-string'));
  if (split !== undefined) return readSplit(words, split, depth);
  const [unknown] = unlisted;
  if (unknown !== undefined) return seenUnknownOption(words, unknown);
  if (open !== undefined) return takesFromInput(words, open);
  return joinLooks(operands.map((place) => readOperands(words, words.slice(place))));
}

function readOperands(words: readonly Word[], operands: readonly Word[]): Look {
  const program = withoutAssignments(operands);
  const [first] = program;
  const assigned = operands.slice(0, operands.length - program.length);
  return joinLooks([
    ...assigned.map((word) => seeVariable(words, word)),
    first?.unknown ? takesFromInput(words, first) : seenRun(program),
  ]);
}

function seeVariable(words: readonly Word[], word: Word): Look {
  const [name = '', ...value] = word.text.split('=');
  return isCodeVariable(name, value.join('=')) ? seenCode(words, `the variable ${name}`, word) : nothingSeen;
}

// Quotes, escapes, variables and comments in `-S` are not undone here: a program has words of its own for all that.
const plainSplit = /^[^'"\\$#]*$/;

function readSplit(words: readonly Word[], { name, value, word }: Option, depth: number): Look {
  if (value === undefined) return nothingSeen;
  if (value.unknown) return takesFromInput(words, value);
  if (!plainSplit.test(value.text) || depth >= deepest) return seenCode(words, name, word);
  const split = value.text.split(/\s+/).filter((text) => text !== '');
  const last = words.includes(value) ? words.indexOf(value) : words.indexOf(word);
  const env = words[0] ?? word;
  const made = split.map((text) => madeFrom(text, word));
  return readWords([env, ...made, ...words.slice(last + 1)], depth + 1);
}

/** Variables whose value some program that inherits them runs, or takes options that bring code from. */
interface CodeVariables {
  readonly names: ProgramNames;
  /** Values that are nothing of the kind. Absent: none is. */
  readonly harmless?: RegExp;
}

const codeVariables: readonly CodeVariables[] = [
  // bash(1): exported functions; values that it expands before it reads a script.
  { names: /^(?:BASH_FUNC_.*|BASH_ENV|PROMPT_COMMAND|PS[0-4]|SHELLOPTS)$/ },
  // git(1): commands, and configuration, which can name some.
  {
    names:
      /^GIT_(?:\w*_COMMAND|SSH|ASKPASS|EXTERNAL_DIFF|CONFIG(?!_NOSYSTEM$)\w*|EXEC_PATH|TEMPLATE_DIR|ALLOW_PROTOCOL|(?:DIFF|MERGE)_?TOOL\w*)$/,
    harmless: /^(?:\/dev\/null|(?:\/bin\/|\/usr\/bin\/)?(?:true|false)|:)?$/,
  },
  {
    names:
      /^(?:SSH_ASKPASS|SUDO_ASKPASS|CVS_RSH|RSYNC_RSH|SVN_SSH|CVS_SERVER|ARCH_CLIENT|LESSOPEN|LESSCLOSE|BROWSER|VIMINIT|EXINIT)$/,
  },
  {
    names: /^(?:\w*PAGER|\w*EDITOR|VISUAL|FCEDIT)$/,
    harmless: /^(?:cat|less|more|true|false|:)?$/,
  },
  { names: /^(?:PERL5OPT|PERL5DB|LUA_INIT\w*|TAR_OPTIONS|RUSTC_\w*WRAPPER|CARGO_\w*(?:RUNNER|LINKER))$/ },
  { names: /^(?:GNU)?MAKEFLAGS$/, harmless: /^(?:(?:-j\d*|-[kswB]+|-l\d*)\s*)*$/ },
  // Modules and agents are files; these values are not.
  { names: /^NODE_OPTIONS$/, harmless: /^(?![\s\S]*data:)/i },
  {
    names: /^(?:JAVA_TOOL|_JAVA|JDK_JAVA)_OPTIONS$/,
    harmless: /^(?![\s\S]*OnOutOfMemoryError|[\s\S]*OnError)/,
  },
  {
    names:
      /^npm_config_(?:call|script[_-]shell|shell|editor|viewer|git|browser|node[_-]options|init[_-]module)$/i,
  },
  { names: /^(?:GOFLAGS|CGO_\w+)$/, harmless: /^(?![\s\S]*-(?:toolexec|exec|wrapper|fplugin))/ },
  {
    names:
      /^(?:BORG_RSH|BORG_PASSCOMMAND|RESTIC_PASSWORD_COMMAND|RCLONE_PASSWORD_COMMAND|ANSIBLE_\w*(?:PASSWORD_FILE|EXECUTABLE))$/,
  },
  { names: /^MANOPT$/ },
  { names: /^(?:LESS|MORE)$/, harmless: /^(?![\s\S]*\+{1,2}[!|#v])/ },
];

/** True where what is assigned to a variable may be run by the program that is started with it. */
function isCodeVariable(name: string, value: string): boolean {
  return codeVariables.some(({ names, harmless }) => names.test(name) && harmless?.test(value) !== true);
}

const xargsOptions: Grammar = {
  short: '0oprtxa:d:E:e::I:i::J:L:l::n:P:R:S:s:',
  long: `null arg-file= delimiter= eof? replace? max-lines? max-args= open-tty max-procs= interactive process-slot-var=
    no-run-if-empty max-chars= show-limits verbose exit help version`,
  abbreviations: true,
};

/** What `xargsOptions` runs, with words from its input at the end, or wherever its `-I` puts them. */
export const readXargs: Reader = (words) => {
  const { options, operands, unlisted, open } = scanOptions(words, xargsOptions);
  const [unknown] = unlisted;
  if (unknown !== undefined) return seenUnknownOption(words, unknown);
  if (open !== undefined) return takesFromInput(words, open);
  const replaced = options
    .filter(({ name }) => isListed(name, '-I -i -J --replace'))
    .map(({ value }) => value?.text ?? '{}');
  return joinLooks(operands.map((place) => runWithInput(words, words.slice(place), replaced)));
};

function runWithInput(words: readonly Word[], program: readonly Word[], replaced: readonly string[]): Look {
  const filled = program.map((word) => (holds(word, replaced) ? { ...word, unknown: true as const } : word));
  const [first] = filled;
  // With no program it is echo.
  if (first === undefined) return seenRun([]);
  if (first.unknown) return takesFromInput(words, first);
  return seenRun([...filled, { text: '…', at: first.at, unknown: true }]);
}

function holds({ text }: Word, marks: readonly string[]): boolean {
  return marks.some((mark) => text.includes(mark));
}

/** parallel(1) hands each command line to a shell, and without operands takes them from its input. */
export const readParallel: Reader = (words) => seenCode(words, 'operands that a shell reads', words[1]);

/** `eval` runs its operands as code. */
export const readEval: Reader = (words) => seenCode(words, 'its operands', words[1]);

/** What is run by a program that takes one after certain of its words and to the end: `ctest --test-command make`. */
export function readAfter(marks: string): Reader {
  return (words) => joinLooks(wordsAfter(words, marks).map(seenRun));
}

/** What is run by a program that takes one after certain of its words, up to a `;`: `find . -exec make ;`. */
export function readUpToSemicolon(marks: string): Reader {
  return (words) => joinLooks(wordsAfter(words, marks).map((rest) => runUpToEnd(words, rest)));
}

function wordsAfter(words: readonly Word[], marks: string): (readonly Word[])[] {
  return words.flatMap(({ text }, index) =>
    index > 0 && isListed(text, marks) ? [words.slice(index + 1)] : [],
  );
}

function runUpToEnd(words: readonly Word[], rest: readonly Word[]): Look {
  const end = rest.findIndex(
    ({ text }, index) => text === ';' || (text === '+' && rest[index - 1]?.text === '{}'),
  );
  const program = end < 0 ? rest : rest.slice(0, end);
  // find(1): names that come from a file may look like options, those that it found may not.
  const named = words.some(({ text }) => text === '-files0-from');
  const filled = program.map((word) =>
    named && word.text.includes('{}') ? { ...word, unknown: true as const } : word,
  );
  const [first] = filled;
  return first?.unknown ? takesFromInput(words, first) : seenRun(filled);
}

/** `cmake -E env|time|chdir` runs a program; all else that cmake runs, files name. */
export const readCmake: Reader = (words, surroundings) => {
  const [program, ...rest] = words;
  const at = rest.findIndex(({ text }) => text === '-E');
  const [command, ...operands] = at < 0 ? [] : rest.slice(at + 1);
  if (program === undefined || command === undefined) return nothingSeen;
  if (command.text === 'env') return readEnv([program, ...operands], surroundings);
  if (command.text === 'time') return seenRun(operands);
  return command.text === 'chdir' ? seenRun(operands.slice(1)) : nothingSeen;
};
