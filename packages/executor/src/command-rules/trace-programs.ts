import type { InlineCode, Look, Surroundings, Unclear } from './look.ts';
import { joinLooks } from './look.ts';
import { actsByName, findPrograms, type KnownProgram } from './programs.ts';
import { toWords, type Word } from './word.ts';

/** Gives the path of the file that a program's name stands for; undefined where there is none or it is not known. */
export type Resolve = (program: string) => string | undefined;

/** One program of an argv, the first of them or one that a wrapper runs. */
export interface TracedProgram {
  readonly words: readonly Word[];
  /** What a name stands for where that is another name than its own; otherwise undefined. */
  readonly resolved: string | undefined;
  readonly known: readonly KnownProgram[];
}

/** All that an argv leads to, wrappers in wrappers included. */
export interface Trace {
  /** The outermost first. */
  readonly programs: readonly TracedProgram[];
  readonly codes: readonly InlineCode[];
  readonly unclear: readonly Unclear[];
}

// Nobody wraps that deeply in earnest.
const deepest = 32;
const most = 1000;

/** Follows an argv from program to program. */
export function tracePrograms(
  argv: readonly string[],
  surroundings: Surroundings,
  resolve: Resolve = () => undefined,
): Trace {
  const programs: TracedProgram[] = [];
  const looks: Look[] = [];
  let level: readonly (readonly Word[])[] = [toWords(argv)];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > deepest || programs.length + level.length > most) {
      looks.push({ codes: [], runs: [], unclear: [tooDeep(level)] });
      break;
    }
    const found = level.map((words) => identify(words, resolve));
    const seen = joinLooks(found.flatMap((program) => look(program, surroundings)));
    programs.push(...found);
    looks.push(seen);
    level = distinct(seen.runs);
  }
  const { codes, unclear } = joinLooks(looks);
  return { programs, codes, unclear };
}

function identify(words: readonly Word[], resolve: Resolve): TracedProgram {
  const name = words[0]?.text ?? '';
  const path = resolve(name);
  const resolved = path === undefined || actsByName(name, path) ? undefined : path;
  const known = new Set([...findPrograms(name), ...(resolved === undefined ? [] : findPrograms(resolved))]);
  return { words, resolved, known: [...known] };
}

function look({ words, known }: TracedProgram, surroundings: Surroundings): Look[] {
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
