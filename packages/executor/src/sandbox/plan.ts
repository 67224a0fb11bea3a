import { madeUpEtcFiles } from './etc-files.ts';
import type { HostFacts, JobUser } from './host-facts.ts';
import type { ResolvedScopes } from './scopes.ts';
import { sandboxGid, sandboxHome, sandboxHostname, sandboxPath, sandboxUid } from './view.ts';

/** The effective sandbox of one command, whole and without host state: descriptors go by name, not by number. */
export interface SandboxPlan {
  readonly namespaces: readonly Namespace[];
  readonly hostname: string;
  /** The ids inside. */
  readonly uid: number;
  readonly gid: number;
  /** The host user that bwrap and the command run as; absent where the executor is that user. */
  readonly credentials?: { readonly uid: number; readonly gid: number };
  readonly environment: Readonly<Record<string, string>>;
  /** In mounting order. */
  readonly mounts: readonly Mount[];
  readonly cwd: string;
}

export type Namespace = 'user' | 'ipc' | 'pid' | 'uts' | 'cgroup' | 'net';

export type Mount =
  /** A path of the host, read-only, the same in every sandbox. */
  | { readonly kind: 'host'; readonly source: string; readonly destination: string }
  /** A file or directory that the contract declared, by its open descriptor. */
  | {
      readonly kind: 'scope';
      readonly descriptor: string;
      readonly destination: string;
      readonly writable: boolean;
    }
  /** A made-up file. */
  | {
      readonly kind: 'data';
      readonly descriptor: string;
      readonly destination: string;
      readonly content: string;
    }
  | { readonly kind: 'symlink'; readonly target: string; readonly destination: string }
  | { readonly kind: 'directory'; readonly destination: string }
  | { readonly kind: 'tmpfs'; readonly destination: string; readonly mode: number; readonly bytes: number }
  | { readonly kind: 'proc' | 'dev' | 'read_only'; readonly destination: string };

/** What the plan needs to know of a command beside its scopes. */
export interface SandboxCommand {
  /** Only what the contract's env_allow and the host's config grant; it goes over the sandbox's own variables. */
  readonly environment: Readonly<Record<string, string>>;
  /** Absent: `defaultSizes`. */
  readonly sizes?: SandboxSizes;
}

/** Bytes of the private, writable file systems. They live in memory. */
export interface SandboxSizes {
  readonly tmp: number;
  readonly home: number;
  readonly shm: number;
}

const mebibyte = 1024 * 1024;
export const defaultSizes: SandboxSizes = { tmp: 256 * mebibyte, home: 256 * mebibyte, shm: 64 * mebibyte };

/** Every namespace by name: `--unshare-all` goes on without the ones that it cannot have. */
export const namespaces: readonly Namespace[] = ['user', 'ipc', 'pid', 'uts', 'cgroup', 'net'];

/** The sandbox for a command. Pure: it opens nothing and asks the host nothing. */
export function planSandbox(facts: HostFacts, scopes: ResolvedScopes, command: SandboxCommand): SandboxPlan {
  return {
    namespaces,
    hostname: sandboxHostname,
    uid: sandboxUid,
    gid: sandboxGid,
    ...(facts.executorUid === facts.jobUser.uid ? {} : { credentials: toCredentials(facts.jobUser) }),
    environment: {
      HOME: sandboxHome,
      LANG: 'C.UTF-8',
      PATH: sandboxPath,
      USER: 'user',
      ...command.environment,
    },
    mounts: [
      ...systemMounts(facts),
      ...etcMounts(facts),
      ...kernelMounts(facts),
      ...privateMounts(command.sizes ?? defaultSizes),
      ...scopeMounts(scopes),
      // Last: until here bwrap itself has to make mount points. Else / and /dev are writable tmpfs of half the memory.
      ...[...facts.maskedDirectories, '/dev', '/proc', '/'].map(
        (destination): Mount => ({ kind: 'read_only', destination }),
      ),
    ],
    cwd: scopes.cwd,
  };
}

/** The open descriptors of scopes by the names that a plan of them uses. */
export function scopeDescriptors({ binds }: ResolvedScopes): ReadonlyMap<string, number> {
  return new Map(binds.map(({ destination, fd }) => [toScopeName(destination), fd]));
}

function toScopeName(destination: string): string {
  return `scope:${destination}`;
}

function toCredentials({ uid, gid }: JobUser): { uid: number; gid: number } {
  return { uid, gid };
}

function systemMounts(facts: HostFacts): Mount[] {
  return [
    ...['/usr', ...facts.systemDirectories].map(asHostMount),
    ...facts.systemLinks.map(({ path, target }): Mount => ({ kind: 'symlink', target, destination: path })),
  ];
}

function etcMounts(facts: HostFacts): Mount[] {
  return [
    { kind: 'directory', destination: '/etc' },
    ...facts.etcPaths.map(asHostMount),
    ...Object.entries(madeUpEtcFiles).map(
      ([destination, content]): Mount => ({
        kind: 'data',
        descriptor: `data:${destination}`,
        destination,
        content,
      }),
    ),
  ];
}

function kernelMounts(facts: HostFacts): Mount[] {
  return [
    { kind: 'proc', destination: '/proc' },
    { kind: 'dev', destination: '/dev' },
    ...facts.maskedDirectories.map(
      (destination): Mount => ({ kind: 'tmpfs', destination, mode: 0o555, bytes: 4096 }),
    ),
    // Mounted nodev, so that opening it is refused.
    ...facts.maskedFiles.map((destination): Mount => ({ kind: 'host', source: '/dev/null', destination })),
  ];
}

function privateMounts(sizes: SandboxSizes): Mount[] {
  return [
    { kind: 'tmpfs', destination: '/tmp', mode: 0o1777, bytes: sizes.tmp },
    { kind: 'tmpfs', destination: sandboxHome, mode: 0o700, bytes: sizes.home },
    { kind: 'tmpfs', destination: '/dev/shm', mode: 0o1777, bytes: sizes.shm },
  ];
}

function scopeMounts(scopes: ResolvedScopes): Mount[] {
  return [
    ...scopes.directories.map((destination): Mount => ({ kind: 'directory', destination })),
    ...scopes.links.map(({ path, target }): Mount => ({ kind: 'symlink', target, destination: path })),
    ...scopes.binds.map(
      ({ destination, writable }): Mount => ({
        kind: 'scope',
        descriptor: toScopeName(destination),
        destination,
        writable,
      }),
    ),
  ];
}

function asHostMount(path: string): Mount {
  return { kind: 'host', source: path, destination: path };
}
