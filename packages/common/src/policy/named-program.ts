/** Whether argv[0] is the program that a rule names: an absolute path as it stands, a name also at the end of a path. */
export function isNamedProgram(argv0: string, program: string): boolean {
  return argv0 === program || (!program.startsWith('/') && argv0.endsWith(`/${program}`));
}
