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
  return ['/usr', ...facts.systemDirectories, ...facts.etc.live];
}

/** What commands that have the host's network need of /etc beside the rest. */
export const resolverPaths: readonly string[] = ['/etc/resolv.conf'];

/** Files below /etc that are made up: the host's own name its users and its network. */
export const madeUpEtcFiles: Readonly<Record<string, string>> = {
  '/etc/passwd': `user:x:${sandboxUid}:${sandboxGid}:user:${sandboxHome}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n`,
  '/etc/group': `user:x:${sandboxGid}:\nnogroup:x:65534:\n`,
  '/etc/hosts': `127.0.0.1 localhost ${sandboxHostname}\n::1 localhost\n`,
  '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};

/** The host's own gitconfig, and what jobs need: scopes belong to other users, and git would not read them (CVE-2022-24765). */
export function toGitconfig(host: string = ''): string {
  return `${host === '' || host.endsWith('\n') ? host : `${host}\n`}[safe]\n\tdirectory = *\n`;
}
