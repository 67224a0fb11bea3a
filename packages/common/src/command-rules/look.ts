/** Code that a program would run and that is no file. */
export interface InlineCode {
  /** The program as argv names it. */
  readonly program: string;
  /** What brings the code, in the words of a message: `-c`, `-S`, `a pipe`. Never the code itself. */
  readonly by: string;
  /** The index of the word in argv that shows it. */
  readonly at: number;
}

/** Why it cannot be said what a wrapper would run. */
export interface Unclear {
  readonly program: string;
  /** In the words of a message: `is given --foo, which this host does not know`. */
  readonly why: string;
  readonly at: number;
}

/** What is seen of one program's own words. */
export interface Look {
  readonly codes: readonly InlineCode[];
  /** The programs that it would run in turn, each with its words. */
  readonly runs: readonly (readonly Word[])[];
  readonly unclear: readonly Unclear[];
}

/** What is known of the place that a program runs in. */
export interface Surroundings {
  /** Its stdin is a pipe; otherwise it is empty. */
  readonly piped: boolean;
}

/** Reads the words of a program, its name first. */
export type Reader = (words: readonly Word[], surroundings: Surroundings) => Look;

export const nothingSeen: Look = { codes: [], runs: [], unclear: [] };

/** Everything that several looks saw. */
export function joinLooks(looks: readonly Look[]): Look {
  return {
    codes: looks.flatMap(({ codes }) => codes),
    runs: looks.flatMap(({ runs }) => runs),
    unclear: looks.flatMap(({ unclear }) => unclear),
  };
}

/** Inline code of the program whose words these are, shown by `word`. */
export function seenCode(words: readonly Word[], by: string, word: Word | undefined): Look {
  return { ...nothingSeen, codes: [{ program: words[0]?.text ?? '', by, at: (word ?? words[0])?.at ?? 0 }] };
}

/** A program that is run; nothing where there are no words. */
export function seenRun(words: readonly Word[]): Look {
  return words.length === 0 ? nothingSeen : { ...nothingSeen, runs: [words] };
}

/** Something that keeps it from being known what is run. */
export function seenUnclear(words: readonly Word[], why: string, word: Word | undefined): Look {
  return {
    ...nothingSeen,
    unclear: [{ program: words[0]?.text ?? '', why, at: (word ?? words[0])?.at ?? 0 }],
  };
}

/** An option that no rule knows: it may take the next word or not, so that the program cannot be told. */
export function seenUnknownOption(
  words: readonly Word[],
  { name, word }: { readonly name: string; readonly word: Word },
): Look {
  return seenUnclear(words, `is given ${name}, an option that this host does not know`, word);
}

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
