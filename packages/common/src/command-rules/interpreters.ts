import { posix } from 'node:path';
import { type Grammar, isListed, type ProgramNames } from './grammar.ts';
import { joinLooks, type Look, nothingSeen, type Reader, seenCode, type Word } from './look.ts';
import { type Option, scanOptions } from './scan-options.ts';

/** A program that runs code: a file of it by nature, and inline code where its words bring some. Lists are apart by spaces. */
export interface Interpreter {
  /** Interpreters of one family stand in for each other: a policy that names `sh` means `dash` where sh is dash. */
  readonly family: string;
  /** Of the file name. */
  readonly names: ProgramNames;
  readonly grammar: Grammar;
  /** Options that bring code. */
  readonly code?: string;
  /** Whether an option brings code in a way that its name alone does not tell. */
  readonly bringsCode?: (option: Option) => boolean;
  /** Options that make it read code from stdin, even after a file. */
  readonly stream?: string;
  /** Options that name the file to run, in place of an operand. */
  readonly file?: string;
  /** What it reads from stdin: code where no file is named, code even then, or no code. Absent: the first. */
  readonly stdin?: 'always' | 'never';
  /** Modules (`-m`), apart by spaces, that run another by the words after them: of those, `-m` and `-c` are read as its own. */
  readonly modules?: string;
  /** First operands that are no files: what follows is code, a stream of it, or options and a file again. */
  readonly commands?: Readonly<Record<string, 'code' | 'stream' | 'file'>>;
  /** How it reads the spelling of its options, where several mean the same. */
  readonly fold?: (text: string) => string;
}

/** A module or a file may be written as a `data:` address, which is code, or as PHP's name of its stdin. */
export function isDataAddress(text = ''): boolean {
  return /^\s*(?:data:|php:\/\/(?:stdin|input|fd))/i.test(text);
}

/** How an interpreter's words are read: do they bring code, or name a file of it? */
export function readInterpreter(interpreter: Interpreter): Reader {
  return (words, { piped }) => {
    const { fold } = interpreter;
    const folded = fold === undefined ? words : words.map((word) => ({ ...word, text: fold(word.text) }));
    return readWords(folded, interpreter, piped);
  };
}

function readWords(words: readonly Word[], interpreter: Interpreter, piped: boolean): Look {
  const { options, operands, open } = scanOptions(words, interpreter.grammar);
  const bringing = options.find((option) => bringsCode(option, interpreter));
  if (bringing !== undefined) return seenCode(words, bringing.name, bringing.word);
  const module = options.find(
    ({ name, value }) => name === '-m' && isListed(value?.text ?? '', interpreter.modules),
  );
  if (module?.value !== undefined) return readModule(words, module.value, interpreter, piped);
  if (open !== undefined) return seenCode(words, 'options from input', open);
  const streaming = options.find((option) => readsStream(option, interpreter));
  if (streaming !== undefined) return seenCode(words, `stdin, by ${streaming.name}`, streaming.word);
  if (piped && interpreter.stdin === 'always' && !options.some(namesFile(interpreter)))
    return seenCode(words, 'stdin, a pipe', undefined);
  if (options.some(namesFile(interpreter))) return nothingSeen;
  return joinLooks(operands.map((place) => readOperand(words, place, interpreter, piped)));
}

function readModule(words: readonly Word[], module: Word, interpreter: Interpreter, piped: boolean): Look {
  const at = words.findIndex((word) => word.at === module.at);
  const rest = words.slice(at + 1);
  // The module's own options come first, and which of them take a value only it knows.
  const next = rest.findIndex(({ text }) => /^-[mc]/.test(text));
  const [program] = words;
  if (next < 0 || program === undefined) return nothingSeen;
  return readWords([program, ...rest.slice(next)], interpreter, piped);
}

function bringsCode(option: Option, { code, bringsCode: brings }: Interpreter): boolean {
  return isListed(option.name, code) || brings?.(option) === true;
}

function readsStream(option: Option, interpreter: Interpreter): boolean {
  if (isListed(option.name, interpreter.stream)) return true;
  return namesFile(interpreter)(option) && option.value !== undefined && isStream(option.value.text);
}

function namesFile({ file }: Interpreter): (option: Option) => boolean {
  return ({ name }) => isListed(name, file);
}

function readOperand(words: readonly Word[], place: number, interpreter: Interpreter, piped: boolean): Look {
  const { commands = {}, stdin } = interpreter;
  const word = words[place];
  if (word === undefined)
    return piped && stdin !== 'never' ? seenCode(words, 'stdin, a pipe', undefined) : nothingSeen;
  if (word.unknown) return nothingSeen;
  if (isStream(word.text)) return seenCode(words, 'stdin', word);
  if (isDataAddress(word.text)) return seenCode(words, 'a data: address', word);
  const command = Object.hasOwn(commands, word.text) ? commands[word.text] : undefined;
  if (command === undefined) return nothingSeen;
  // `deno test` looks for files by itself.
  if (command === 'file') return readWords([words[0] ?? word, ...words.slice(place + 1)], interpreter, false);
  return seenCode(words, word.text, word);
}

const streamPath = /(?:^|\/)(?:dev\/(?:stdin|fd\/\d+)|proc\/[^/]+\/(?:task\/[^/]+\/)?fd\/\d+)$/;

/** True for a name of something that a program was handed open: what is read there is no file of the workspace. */
export function isStream(path: string): boolean {
  return (
    path === '-' || streamPath.test(posix.normalize(path.replace(/^file:(?:\/\/(?:localhost)?)?(?=\/)/i, '')))
  );
}
