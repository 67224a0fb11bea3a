import { isListed, named } from './grammar.ts';
import type { Tool } from './tools.ts';

// What is asked of a database is no code of this host's. What these shells do themselves can be: each has commands that
// start a shell, some behind a `|`, and some by an SQL function of its own.

const anywhere = { unlisted: 'flag', permutes: true } as const;
const gnu = { ...anywhere, abbreviations: true } as const;

/** Shells of databases: what they are given on their command line, or by a pipe, may have commands of this host in it. */
export const databaseShells: readonly Tool[] = [
  {
    names: named('sqlite3 sqlcipher duckdb'),
    grammar: {
      short: 'c:s:',
      long: 'cmd= init= separator= nullvalue= vfs= newline=',
      singleDash: true,
      ...anywhere,
    },
    bringsCode: ({ name, value }) => isListed(name, '--cmd -c -s') && isSqliteCode(value?.text ?? ''),
    files: '--init',
    operandIsCode: isSqliteCode,
    stdin: 'code',
    instead: '-c',
    enough: 2,
  },
  {
    names: named('psql pgcli usql'),
    grammar: {
      short: 'c:d:f:v:L:o:F:P:R:T:h:p:U:lV?',
      long: `command= dbname= file= output= log-file= set= variable= pset= field-separator= record-separator= table-attr= host=
        port= username= list version help?`,
      ...gnu,
    },
    bringsCode: ({ name, value }) =>
      isListed(name, '-c --command')
        ? isPsqlCode(value?.text ?? '')
        : isListed(name, '-o --output -L --log-file') && /^\s*\|/.test(value?.text ?? ''),
    files: '-f --file',
    stdin: 'code',
    instead: '-c --command -l --list -V --version -? --help',
  },
  {
    names: named('mysql mariadb mycli'),
    grammar: {
      short: 'e:D:h:P:S:u:V?',
      long: 'execute= pager? init-command= database= host= port= user= socket= tee= version help',
      ...gnu,
    },
    code: '--pager',
    bringsCode: ({ name, value }) =>
      isListed(name, '-e --execute') &&
      /\\[!PeE]|(?:^|[;\n])\s*(?:system|pager|edit)\b/i.test(withoutText(value?.text ?? '')),
    stdin: 'code',
    instead: '-e --execute -V -? --version --help',
  },
  {
    // JavaScript or Python.
    names: named('mysqlsh mongosh mongo'),
    grammar: { short: 'e:f:h:P:u:', long: 'execute= eval= file= pym=', ...anywhere },
    code: '-e --execute --eval',
    files: '-f --file',
    stdin: 'code',
  },
];

/** Without what stands in quotes: `\e` there is an escape, and `system` a word. */
function withoutText(sql: string): string {
  return sql.replace(/'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"/g, "''");
}

// https://sqlite.org/cli.html. Names may be cut short. `.output`, `.once`, `.import` and others take `|CODE` for a file,
// some open what they wrote in an editor, a browser or a spreadsheet, and `.load` loads a library.
const dotCommand = /^\s*\.(\w+)\s*([\s\S]*)$/;
const startingDots = 'shell system excel www load';
const pipingDots = 'output once import read log trace save backup dump open';

function isSqliteCode(text: string): boolean {
  const [, name = '', rest = ''] = dotCommand.exec(text) ?? [];
  if (name === '')
    // Functions of the shell's own: `edit(VALUE, PROGRAM)`, and one that loads a library.
    return /\b(?:edit|load_extension)["`\]]?\s*(?:\(|\/\*|--)/i.test(text);
  if (isShort(name, startingDots, 2)) return true;
  return isShort(name, pipingDots, 1) && /(?:^|\s)(?:["']?\s*\||--?[exw]\b)/.test(rest);
}

function isShort(name: string, list: string, least: number): boolean {
  return name.length >= least && list.split(' ').some((it) => it.startsWith(name.toLowerCase()));
}

// psql(1): `\!`, `|CODE` in the place of a file, editors, settings of the environment, backquotes in what a backslash
// command is given; and of the server, `copy … program`, which psql's own `\copy` runs here.
function isPsqlCode(text: string): boolean {
  return (
    /\\(?:!|(?:e|ef|ev|edit|setenv)\b)/.test(text) ||
    /\\(?:o|out|g\w*|w|write|i|ir|include\w*)\s*\(?[^\n|]*\|/.test(text) ||
    /\\\w+[^\n]*`/.test(text) ||
    /\bcopy\b[\s\S]*\b(?:from|to)\s+program\b/i.test(text)
  );
}
