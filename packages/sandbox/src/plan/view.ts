import type { HostFacts } from './facts.ts';

/** Where things are in every sandbox, whatever its scopes. Paths are the sandbox's own. */

export const sandboxHome = '/home/user';
export const sandboxUid = 1000;
export const sandboxGid = 1000;
export const sandboxHostname = 'sandbox';
export const sandboxPath = '/usr/local/bin:/usr/bin:/bin';

/** Where a command finds its secrets, one file each. */
export const secretsDirectory = '/run/secrets';

export function toSecretPath(name: string): string {
  return `${secretsDirectory}/${name}`;
}

/** Private to each run and writable: no scope makes these read-only by being the cwd. */
export const privateDirectories: readonly string[] = ['/tmp', sandboxHome, '/dev/shm'];

/** What the kernel shows there is not a matter of scopes, so a contract cannot declare it. */
export const closedTrees: readonly string[] = ['/proc', '/sys', '/dev', secretsDirectory];

/** Directories that every sandbox makes for itself: no symlink of the host can take their place. */
export const ownDirectories: readonly string[] = ['/etc', '/proc', '/dev', '/run', sandboxHome, '/tmp'];

/** What every sandbox shows of the host, read-only, whatever a contract declares. */
export function systemTrees(facts: HostFacts): readonly string[] {
  return ['/usr', ...facts.systemDirectories, ...facts.etcPaths];
}
