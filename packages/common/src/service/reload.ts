/**
 * The members of a config that differ and that no reload takes over, as its file has them.
 * @param inFile of members that are called otherwise there than in snake case
 */
export function needRestart<T extends object>(
  before: T,
  after: T,
  reloaded: readonly (keyof T)[],
  inFile: Partial<Record<keyof T, string>> = {},
): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<string & keyof T>;
  const text = (value: unknown): string => JSON.stringify(value) ?? '';
  return [...names]
    .filter((name) => !reloaded.includes(name) && text(before[name]) !== text(after[name]))
    .map((name) => inFile[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}
