/** One argument of a program, and where it stands. */
export interface Word {
  readonly text: string;
  /** Its index in the argv that was asked about; for a word that a wrapper makes, that of the word it is made from. */
  readonly at: number;
  /** True where what it says comes from input, as with `xargs`: it may be anything. */
  readonly unknown?: true;
}

/** An argv as words. */
export function toWords(argv: readonly string[]): Word[] {
  return argv.map((text, at) => ({ text, at }));
}

/** A word that a wrapper makes up, as `su` does the shell that it starts. */
export function madeFrom(text: string, { at }: Word): Word {
  return { text, at };
}
