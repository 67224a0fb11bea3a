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
export const closedTrees: readonly string[] = ['/proc', '/sys', '/dev', secretsDirectory, '/run/csc'];

/** Directories that every sandbox makes for itself: no symlink of the host can take their place. */
export const ownDirectories: readonly string[] = ['/etc', '/proc', '/dev', '/run', sandboxHome, '/tmp'];

/** What every sandbox shows of the host, read-only, whatever a contract declares. */
export function systemTrees(facts: HostFacts): readonly string[] {
  return ['/usr', ...facts.systemDirectories, ...facts.etcPaths];
}

/** Paths below /etc that programs need and that say little about the host. */
export const shownEtcPaths: readonly string[] = ['/etc/alternatives', '/etc/ld.so.cache', '/etc/ssl/certs'];

/** The same, for commands that have the host's network. */
export const resolverPaths: readonly string[] = ['/etc/resolv.conf'];

/** Files below /etc that are made up: the host's own name its users and its network. */
export const madeUpEtcFiles: Readonly<Record<string, string>> = {
  '/etc/passwd': `user:x:${sandboxUid}:${sandboxGid}:user:${sandboxHome}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n`,
  '/etc/group': `user:x:${sandboxGid}:\nnogroup:x:65534:\n`,
  '/etc/hosts': `127.0.0.1 localhost ${sandboxHostname}\n::1 localhost\n`,
  '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  // Scopes belong to other users than the job's; git would refuse to read them (CVE-2022-24765), and needs them read.
  '/etc/gitconfig': '[safe]\n\tdirectory = *\n',
};
