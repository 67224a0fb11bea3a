import { type Grammar, isListed, named, takesOfLetter } from './grammar.ts';
import { isStream } from './interpreters.ts';
import {
  joinLooks,
  type Look,
  madeFrom,
  nothingSeen,
  type Reader,
  seenCode,
  seenRun,
  type Word,
} from './look.ts';
import { npmOptions } from './npm-options.ts';
import { type Option, scanOptions } from './scan-options.ts';

/** How the words of a tool are read: does an option bring code, or name a program? */
export function readTool(tool: Tool): Reader {
  return (given) => {
    const words = tool.bundled ? unbundled(given, tool.grammar) : given;
    const { options, operands } = scanOptions(words, tool.grammar);
    return joinLooks([
      ...options.map((option) => seeOption(words, option, tool)),
      ...operands.map((place) => seeOperand(words, words[place], tool)),
    ]);
  };
}

function seeOption(words: readonly Word[], option: Option, tool: Tool): Look {
  const { name, value, word } = option;
  if (isListed(name, tool.code) || tool.bringsCode?.(option) === true) return seenCode(words, name, word);
  if (value === undefined) return nothingSeen;
  if (isListed(name, tool.files) && isStream(value.text)) return seenCode(words, `stdin, by ${name}`, word);
  return isListed(name, tool.programs) ? seeProgram(words, name, value) : nothingSeen;
}

// What a shell and a plainProgram split at spaces read alike.
const plainProgram = /^[\w./+=,:@%-]+(?: +[\w./+=,:@%-]+)*$/;

/** A program and its arguments in one word, apart by spaces; code where it is more than that. */
export function seeProgram(words: readonly Word[], name: string, value: Word): Look {
  if (value.unknown || !plainProgram.test(value.text)) return seenCode(words, name, value);
  return seenRun(value.text.split(/ +/).map((text) => madeFrom(text, value)));
}

function seeOperand(words: readonly Word[], word: Word | undefined, { operandIsCode }: Tool): Look {
  if (word === undefined || operandIsCode?.(word.text) !== true) return nothingSeen;
  return seenCode(words, 'an operand', word);
}

/** `xIf zstd a.tar` as `-x -I zstd -f a.tar`. */
function unbundled(words: readonly Word[], grammar: Grammar): readonly Word[] {
  const [program, letters, ...rest] = words;
  if (program === undefined || letters === undefined || letters.text.startsWith('-')) return words;
  let taken = 0;
  const options = [...letters.text].flatMap((letter) => {
    const option = madeFrom(`-${letter}`, letters);
    if (takesOfLetter(grammar, letter) !== 'value') return [option];
    const value = rest[taken];
    taken += 1;
    return value === undefined ? [option] : [option, value];
  });
  return [program, ...options, ...rest.slice(taken)];
}

/** A program that is neither shell nor wrapper, but has an option that brings code or names a program. */
interface Tool {
  readonly names: RegExp;
  readonly grammar: Grammar;
  /** Options whose value is code, apart by spaces. */
  readonly code?: string;
  readonly bringsCode?: (option: Option) => boolean;
  /** Options whose value is a program and its arguments, apart by spaces. */
  readonly programs?: string;
  /** Options whose value is a file that is run. */
  readonly files?: string;
  /** Whether an operand is code. */
  readonly operandIsCode?: (text: string) => boolean;
  /** A first word without a dash is letters too, whose values are the words after it: `tar xIf zstd a.tar`. */
  readonly bundled?: true;
}

// Options that are not listed take nothing; operands and options come in any order.
const anywhere = { unlisted: 'flag', permutes: true } as const;
const gnu = { ...anywhere, abbreviations: true } as const;

/** What this host knows of such programs: those that build and pack. */
export const tools: readonly Tool[] = [
  {
    names: named('g?tar bsdtar'),
    grammar: {
      short: 'b:f:g:C:F:H:I:K:L:N:T:V:X:',
      long: `to-command= checkpoint-action= use-compress-program= rsh-command= rmt-command= info-script=
        new-volume-script= directory= file= exclude= exclude-from= files-from= transform= xform= owner= group= mode=
        mtime= format= strip-components= blocking-factor= listed-incremental= label= newer= starting-file= checkpoint?`,
      ...gnu,
    },
    // A shell runs each.
    code: '-F --to-command --info-script --new-volume-script --rsh-command --rmt-command',
    bringsCode: ({ name, value }) => name === '--checkpoint-action' && /^exec=/.test(value?.text ?? ''),
    programs: '-I --use-compress-program',
    bundled: true,
  },
  {
    names: named('g?make remake'),
    grammar: {
      short: 'bmBdeikLnpqrRsStvwhC:f:I:o:W:E:j::l::O::',
      long: `eval= file= makefile= directory= include-dir= old-file= assume-old= what-if= new-file= assume-new=
        jobserver-style= jobs? load-average? max-load? output-sync? debug? shuffle?`,
      ...gnu,
    },
    code: '-E --eval',
    files: '-f --file --makefile',
    // `X!=CODE` runs it, and so does `X=$(shell CODE)`; MAKEFLAGS may hold --eval.
    operandIsCode: (text) => /^[^=]*!=|^\w*MAKEFLAGS\s*[:?+]*=|^[^=]*=[\s\S]*\$/.test(text),
  },
  {
    names: named('rsync'),
    grammar: { short: 'e:B:f:M:T:', long: 'rsh= rsync-path= exclude= include= filter= files-from=', ...gnu },
    code: '-e --rsh --rsync-path',
  },
  {
    names: named('g?sort'),
    grammar: { short: 'k:o:S:t:T:', long: 'compress-program= key= output= parallel=', ...gnu },
    programs: '--compress-program',
  },
  { names: named('g?split'), grammar: { short: 'a:b:C:l:n:t:', long: 'filter=', ...gnu }, code: '--filter' },
  {
    names: named('g?install'),
    grammar: { short: 'g:m:o:S:t:', long: 'strip-program=', ...gnu },
    programs: '--strip-program',
  },
  {
    names: named('zip'),
    grammar: { short: '', long: 'TT= unzip-command=', singleDash: true, ...anywhere },
    code: '--TT --unzip-command',
  },
  {
    names: named('rg'),
    grammar: { short: 'e:f:g:t:T:A:B:C:m:', long: 'pre= hostname-bin=', ...anywhere },
    programs: '--pre --hostname-bin',
  },
  {
    names: named('man'),
    grammar: { short: 'P:H::', long: 'pager= html?', ...gnu },
    code: '-P -H --pager --html',
  },
  {
    names: named('wget'),
    grammar: { short: 'e:O:o:P:', long: 'execute= use-askpass=', ...gnu },
    code: '-e --execute --use-askpass',
  },
  {
    // `-wrapper PROGRAM,ARGUMENT…` runs in front of each pass.
    names: named('(?:[\\w.-]+-)?(?:gcc|g\\+\\+|cc|c\\+\\+|clang|clang\\+\\+|gfortran|cpp)'),
    grammar: { short: '', long: 'wrapper=', singleDash: true, ...anywhere },
    code: '--wrapper',
  },
  {
    names: named('go'),
    grammar: { short: '', long: 'exec= toolexec= vettool=', singleDash: true, ...anywhere },
    programs: '--exec --toolexec --vettool',
  },
  {
    names: named('cargo'),
    grammar: { short: '', long: 'config=', ...anywhere },
    // A file, or configuration, which can name a program to run others with.
    bringsCode: ({ name, value }) => name === '--config' && (value?.text.includes('=') ?? false),
  },
  {
    names: named('sqlite3'),
    grammar: { short: '', long: 'cmd= init=', singleDash: true, ...anywhere },
    bringsCode: ({ name, value }) => name === '--cmd' && isSqliteCode(value?.text ?? ''),
    operandIsCode: isSqliteCode,
  },
  {
    names: named('psql'),
    grammar: { short: 'c:d:f:v:L:o:F:P:R:T:h:p:U:', long: 'command= file= output= log-file=', ...gnu },
    // `\! CODE`, `\o |CODE`, `\copy … program`; of the server: `copy … program`.
    bringsCode: ({ name, value }) =>
      isListed(name, '-c --command')
        ? /\\(?:!|(?:o|out|g\w*|w|write|e|ef|ev|copy|setenv|i|ir|include)\b)|\bprogram\b/i.test(
            value?.text ?? '',
          )
        : isListed(name, '-o --output') && /^\s*\|/.test(value?.text ?? ''),
    files: '-f --file',
  },
  {
    names: named('mysql mariadb'),
    grammar: { short: 'e:D:h:P:S:u:', long: 'execute= pager? init-command= database=', ...gnu },
    code: '--pager',
    bringsCode: ({ name, value }) =>
      isListed(name, '-e --execute') &&
      /\\[!PeE]|(?:^|[;\n])\s*(?:system|pager|edit)\b/i.test(value?.text ?? ''),
  },
  {
    names: named('ssh slogin scp sftp autossh'),
    grammar: {
      short: 'B:b:c:D:E:e:F:I:i:J:L:l:m:O:o:P:p:Q:R:S:W:w:X:',
      unlisted: 'flag',
      permutes: true,
    },
    // ssh_config(5): settings that a shell runs, or libraries that are loaded.
    bringsCode: ({ name, value }) =>
      name === '-o' &&
      /^\s*(?:proxycommand(?!\s*[=\s]\s*none\s*$)|localcommand|permitlocalcommand|knownhostscommand|pkcs11provider|securitykeyprovider|xauthlocation|include|match)\b/i.test(
        value?.text ?? '',
      ),
  },
  // `-S` of ssh is a socket.
  { names: named('scp sftp'), grammar: { short: 'S:D:o:', ...anywhere }, programs: '-S -D' },
  {
    names: named('nc ncat netcat nc\\.\\w+'),
    grammar: { short: 'e:c:', long: 'exec= sh-exec= lua-exec=', ...gnu },
    code: '-e -c --exec --sh-exec --lua-exec',
  },
  {
    names: named('socat'),
    grammar: { short: '', ...anywhere },
    operandIsCode: (text) => /(?:^|!!)\s*(?:exec|system|shell)\b/i.test(text),
  },
  {
    // The same settings as npm_config_script_shell and its like.
    names: named('npm'),
    grammar: { ...npmOptions, long: `${npmOptions.long} browser=`, ...anywhere },
    bringsCode: ({ name, value }) => name === '--node-options' && /data:/i.test(value?.text ?? ''),
    programs: '--script-shell --shell --editor --viewer --git --browser',
  },
  {
    names: named('pnpm yarn'),
    grammar: {
      short: '',
      long: 'script-shell= shell= editor= viewer= git= browser= node-options=',
      ...anywhere,
    },
    bringsCode: ({ name, value }) => name === '--node-options' && /data:/i.test(value?.text ?? ''),
    programs: '--script-shell --shell --editor --viewer --git --browser',
  },
];

// Of the dot commands these start nothing; `.shell`, `.system`, `.output |CODE`, `.import |CODE` and their short forms do.
const harmlessDots =
  /^\s*\.(?:tables|schema|fullschema|mode|headers?|dump|databases|indexes|indices|separator|width|stats|timer|nullvalue|echo|bail|dbinfo|version|show|help|changes|eqp|explain)(?:\s[^|]*)?$/;

function isSqliteCode(text: string): boolean {
  if (/^\s*\./.test(text)) return !harmlessDots.test(text);
  // The shell's own SQL function: `edit(VALUE, PROGRAM)`.
  return /\bedit["`\]]?\s*(?:\(|\/\*|--)/i.test(text);
}
