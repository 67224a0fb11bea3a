import { readFileSync } from 'node:fs';

/** One kernel setting that can close user namespaces to a user without privileges. */
interface Setting {
  readonly name: string;
  readonly closed: (value: number) => boolean;
  readonly remedy: string;
}

const settings: readonly Setting[] = [
  {
    // Debian's and Ubuntu's own.
    name: 'kernel.unprivileged_userns_clone',
    closed: (value) => value === 0,
    remedy: 'sysctl -w kernel.unprivileged_userns_clone=1',
  },
  {
    name: 'user.max_user_namespaces',
    closed: (value) => value === 0,
    remedy: 'sysctl -w user.max_user_namespaces=15000',
  },
  {
    // Ubuntu 23.10 and later.
    name: 'kernel.apparmor_restrict_unprivileged_userns',
    closed: (value) => value !== 0,
    remedy:
      'give bwrap an AppArmor profile with `userns,`, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  },
];

/** What to do where namespaces cannot be had: about the kernel settings that close them, else about containers. */
export function userNamespaceRemedy(read: (name: string) => number | undefined = readSetting): string {
  const remedies = settings.flatMap(({ name, closed, remedy }) => {
    const value = read(name);
    return value !== undefined && closed(value) ? [remedy] : [];
  });
  if (remedies.length > 0) return remedies.join('; ');
  const names = settings.map(({ name }) => name).join(', ');
  return `allow user namespaces: not closed by ${names}, so look at the seccomp profile of the container that this runs in, if it does (Docker: --security-opt seccomp=unconfined)`;
}

function readSetting(name: string): number | undefined {
  try {
    return Number(readFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, 'utf8'));
  } catch {
    return undefined;
  }
}
