/** Where it is said what came of a reload. */
export interface ReloadLog {
  info(fields: object, message: string): void;
  error(fields: { readonly error: unknown }, message: string): void;
}

/**
 * SIGHUP: reads again what the owner may have changed (daemon(7), systemd's ExecReload). Without a handler it would end
 * the process.
 * @param reload reads and checks everything, then puts it in place, and gives what to log of it; where it throws, nothing
 *   has changed
 * @returns takes the handler away
 */
export function reloadOnHangUp(reload: () => object, log: ReloadLog): () => void {
  const onHangUp = (): void => {
    try {
      log.info(reload(), 'reloaded');
    } catch (error) {
      log.error({ error }, 'not reloaded: what was loaded before goes on');
    }
  };
  process.on('SIGHUP', onHangUp);
  return () => void process.off('SIGHUP', onHangUp);
}

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
