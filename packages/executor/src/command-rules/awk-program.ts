// POSIX awk: `system(…)`, `print | "…"`, `"…" | getline`; gawk(1): `|&`, and `@f(…)`, which calls whatever f names.
const startsOthers = /\bsystem\b|@|(?<!\|)\|(?!\|)/;
const mayStartOthers = /system|@|(?<!\|)\|(?!\|)/;

/** True where an awk program has what starts other programs; also where its strings and patterns cannot be told for sure. */
export function awkStartsProgram(program: string): boolean {
  if (!mayStartOthers.test(program)) return false;
  const code = withoutLiterals(program);
  return code === undefined || startsOthers.test(code);
}

// Each is read whole, from where the last one ended. A slash or a backslash within a bracket expression means different
// things to different awks.
const string = /"(?:[^"\\\n]|\\[\s\S])*"/y;
// A line that goes on is one line.
const blank = /(?:[ \t\r]|\\\r?\n)+/y;
const comment = /#[^\n]*/y;
const pattern = /\/(?:[^/\\[\n]|\\[^\n]|\[\^?\]?[^\]/\\\n]*\])*\//y;
const word = /[A-Za-z_]\w*|\d[\w.]*|\.\d\w*/y;

const keywords =
  /^(?:BEGIN|END|BEGINFILE|ENDFILE|function|func|if|else|while|for|do|break|continue|return|next|nextfile|exit|delete|in|getline|print|printf|switch|case|default)$/;

/** The code alone, a `0` for each string and pattern; undefined where it depends on the grammar which a slash is. */
function withoutLiterals(program: string): string | undefined {
  let code = '';
  let before = '';
  let open = 0;
  for (let at = 0; at < program.length; ) {
    const kind = program[at] === '/' ? slashAfter(before) : 'other';
    if (kind === 'unclear') return undefined;
    const space = readAt(blank, program, at);
    if (space !== undefined) {
      code += ' ';
      at += space.length;
      continue;
    }
    const rule = { '"': string, '#': comment }[program[at] ?? ''] ?? (kind === 'pattern' ? pattern : word);
    const text = readAt(rule, program, at);
    // A string or pattern without an end.
    if (text === undefined && rule !== word) return undefined;
    const token = text ?? program[at] ?? '';
    const literal = rule === string || rule === pattern;
    code += literal ? ' 0 ' : rule === comment ? ' ' : token;
    open += token === '(' || token === '[' ? 1 : token === ')' || token === ']' ? -1 : 0;
    // Not every awk ends an expression at the end of a line within brackets.
    if (open !== 0 && (token === '\n' || token === '\\')) return undefined;
    if (rule !== comment) before = literal ? '0' : tokenAfter(before, token);
    at += token.length;
  }
  return code;
}

function readAt(rule: RegExp, program: string, at: number): string | undefined {
  rule.lastIndex = at;
  return rule.exec(program)?.[0];
}

/** `++` and `--` are one, wherever their halves stand. */
function tokenAfter(before: string, token: string): string {
  return (token === '+' || token === '-') && before === token ? before + token : token;
}

/** Whether a slash divides or begins a pattern. After `)`, `++`, `$` and keywords only the grammar knows. */
function slashAfter(before: string): 'divides' | 'pattern' | 'unclear' {
  if (keywords.test(before) || /^(?:\)|\+\+|--|\$)$/.test(before)) return 'unclear';
  return /^[\w.]|^\]$/.test(before) ? 'divides' : 'pattern';
}
