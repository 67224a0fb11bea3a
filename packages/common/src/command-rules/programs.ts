import { readAwk } from './awk.ts';
import { readDashedGit, readGit } from './git.ts';
import { fileName, named, type ProgramNames } from './grammar.ts';
import { interpreters } from './interpreter-table.ts';
import { readInterpreter } from './interpreters.ts';
import type { Reader } from './look.ts';
import {
  readAfter,
  readCmake,
  readEnv,
  readEval,
  readParallel,
  readUpToSemicolon,
  readXargs,
} from './runners.ts';
import { readSed } from './sed.ts';
import { tools } from './tool-table.ts';
import { readTool } from './tools.ts';
import { wrappers } from './wrapper-table.ts';
import { readWrapper } from './wrappers.ts';

/** A program that this host has rules for. */
export interface KnownProgram {
  readonly names: ProgramNames;
  readonly read: Reader;
  /**
   * Set for interpreters and wrappers, which a policy must name. Those of one family stand in for each other, as dash
   * does for sh.
   */
  readonly family?: string;
}

/** Everything that this host has rules for; a program may match several, and then all count. */
const programs: readonly KnownProgram[] = [
  ...interpreters.map((it) => ({ names: it.names, family: it.family, read: readInterpreter(it) })),
  ...wrappers.map((it) => ({ names: it.names, family: it.family, read: readWrapper(it) })),
  { names: named('g?env cross-env'), family: 'env', read: readEnv },
  { names: named('g?xargs'), family: 'xargs', read: readXargs },
  { names: named('parallel sem env_parallel rush'), family: 'parallel', read: readParallel },
  { names: named('eval'), family: 'eval', read: readEval },
  { names: named('g?find'), family: 'find', read: readUpToSemicolon('-exec -execdir -ok -okdir') },
  { names: named('fd fdfind'), family: 'fd', read: readUpToSemicolon('-x -X --exec --exec-batch') },
  { names: named('[gmno]?awk original-awk'), family: 'awk', read: readAwk },
  { names: named('g?sed'), family: 'sed', read: readSed },
  { names: named('git scalar'), read: readGit },
  { names: /^git-[a-z]/, read: readDashedGit },
  { names: named('cmake'), read: readCmake },
  { names: named('ctest'), read: readAfter('--test-command') },
  { names: named('gdb gdb-multiarch'), read: readAfter('--args -args') },
  ...tools.map((it) => ({ names: it.names, read: readTool(it) })),
];

// NAME_MAX of Linux: nothing can be called what is longer, and no pattern has to be held against it.
const longestName = 255;

// Many contracts name few programs, and there are a hundred patterns.
const found = new Map<string, readonly KnownProgram[]>();
const mostKept = 500;

/** What is known of a program by its file name; empty for most. */
export function findPrograms(program: string): readonly KnownProgram[] {
  const name = fileName(program);
  if (name.length > longestName) return [];
  const kept = found.get(name);
  if (kept !== undefined) return kept;
  if (found.size >= mostKept) found.clear();
  const known = programs.filter(({ names }) => names.test(name));
  found.set(name, known);
  return known;
}

// Binaries that act by the name they are called with, so that their own file name says nothing.
const multiCall = named('busybox toybox coreutils rustup ccache distcc sccache volta-shim mise asdf');

/** True where a program called `name` is a file named `resolved`, and `name` is what decides how it acts. */
export function actsByName(name: string, resolved: string): boolean {
  return multiCall.test(fileName(resolved)) && !multiCall.test(fileName(name));
}
