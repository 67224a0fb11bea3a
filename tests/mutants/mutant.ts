/** One fault that somebody could make in the security wiring, and the test that must notice it. */
export interface Mutant {
  /** For `make mutants ONLY=…`. */
  readonly name: string;
  /** From the root of the repository. */
  readonly file: string;
  /** Stands exactly once in the file; whole lines, though the indentation of the first may be left out. */
  readonly before: string;
  /** What takes its place. */
  readonly after: string;
  /** Test files to run, from the root of the repository. */
  readonly tests: readonly string[];
  /** A part of the title of the test that must fail; of a test with rows, the part that the row says. */
  readonly red: string;
  /** Whether it is one of the few that every change runs. Absent: no. */
  readonly quick?: true;
}

/** The text with the fault in it. Throws where the line is not there exactly once: then the table is stale. */
export function mutate(text: string, { name, file, before, after }: Mutant): string {
  const parts = text.split(before);
  const [head = '', tail = ''] = parts;
  if (parts.length === 2 && before !== after) return `${head}${after}${tail}`;
  const found = `found ${parts.length - 1} times in ${file}`;
  throw new Error(`mutant ${name} is stale: its line must be there once, and was ${found}:\n${before}`);
}
