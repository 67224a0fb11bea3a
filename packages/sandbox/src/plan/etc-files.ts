import { sandboxGid, sandboxHome, sandboxHostname, sandboxUid } from './view.ts';

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
