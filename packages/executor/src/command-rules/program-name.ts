import { posix } from 'node:path';
import { toList } from './grammar.ts';

/** The file name of a program: `bash` of `/usr/bin/bash`. */
export function fileName(program: string): string {
  return posix.basename(program);
}

/**
 * Matches these file names (patterns, apart by spaces), also with a version or a build in them: `python3.11`,
 * `perl5.36-x86_64-linux-gnu`, `bash-static`.
 */
export function named(names: string): RegExp {
  const version = '(?:-?v?\\d+(?:\\.\\d+)*[a-z]?)?';
  const build = '(?:-(?:dbg|static|minimal|\\w+-linux-\\w+))?';
  return new RegExp(`^(?:${toList(names).join('|')})${version}${build}$`);
}
