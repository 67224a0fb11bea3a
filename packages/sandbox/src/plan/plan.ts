import type { NetworkMode } from '@csc-fleet/common/contract';
import type { CgroupMechanism } from '../cgroup/index.ts';
import { isWithin, type JobUser } from '../host/index.ts';
import type { HostFacts, RunFacts } from './facts.ts';
import { etcCopies } from './gather-etc.ts';
import type { RunLimits } from './limits.ts';
import type { ResolvedScopes, ScopeLink } from './scopes.ts';
import {
  madeUpEtcFiles,
  privateDirectories,
  sandboxGid,
  sandboxHome,
  sandboxHostname,
  sandboxPath,
  sandboxUid,
  secretsDirectory,
  toGitconfig,
  toSecretPath,
} from './view.ts';

/**
 * The effective sandbox of one command, whole and without host state: descriptors go by name, not by number. Whatever is
 * asked of bwrap stands here: `bwrapArguments` only spells it.
 */
export interface SandboxPlan {
  /** The bwrap that builds it, as `bwrap --version` says it: what the same options do has changed with it. */
  readonly bwrapVersion: string;
  /** It ends with the executor (prctl(2), PR_SET_PDEATHSIG). */
  readonly dieWithParent: boolean;
  /** It has no controlling terminal, into which it could type for whoever started it (CVE-2017-5226). */
  readonly newSession: boolean;
  /** It can make no user namespaces of its own, in which it would have capabilities again; asserted once it is built. */
  readonly disableUserns: boolean;
  /** Taken from the command, as capabilities(7) has them; "ALL" is all of them. */
  readonly droppedCapabilities: readonly string[];
  readonly namespaces: readonly Namespace[];
  /** "allowlisted" is an empty network namespace too; the executor's proxy listens in it. */
  readonly network: NetworkMode;
  readonly hostname: string;
  /** The ids inside. */
  readonly uid: number;
  readonly gid: number;
  /** The host user that bwrap and the command run as; absent where the executor is that user. */
  readonly credentials?: { readonly uid: number; readonly gid: number };
  /** The permissions that files do not get which the command makes (umask(2)). */
  readonly umask: number;
  /** Variables that are there already go: those of the executor are none of a command's business. */
  readonly clearEnvironment: boolean;
  readonly environment: Readonly<Record<string, string>>;
  /** In mounting order. */
  readonly mounts: readonly Mount[];
  readonly cwd: string;
  /** The system call filter: how many programs, and the hash of them all. */
  readonly seccomp: { readonly sha256: string; readonly programs: number };
  /** setrlimit(2): soft and hard alike. */
  readonly rlimits: Readonly<Partial<Record<Rlimit, number>>>;
  /** Of all processes of the command together; absent where this host has only rlimits. */
  readonly cgroup?: CgroupPlan;
  /** Of all write scopes together, in bytes and inodes, measured while the command runs and when it has ended. */
  readonly writeBytes: number;
  readonly writeFiles: number;
}

export type Rlimit = 'core' | 'fsize' | 'nofile' | 'nproc';

export interface CgroupPlan {
  readonly mechanism: CgroupMechanism;
  readonly memory_bytes: number;
  readonly processes: number;
  readonly cpu_millis: number;
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
      readonly mode: number;
      readonly content: string;
    }
  /** The copies of the host's /etc; what they are, and what leads to them, by its hash. */
  | {
      readonly kind: 'tree';
      readonly descriptor: typeof etcDescriptor;
      readonly destination: string;
      readonly sha256: string;
    }
  /** A secret, by name: a plan, which is hashed into receipts, never holds its value. */
  | {
      readonly kind: 'secret';
      readonly descriptor: string;
      readonly destination: string;
      readonly mode: number;
    }
  | { readonly kind: 'symlink'; readonly target: string; readonly destination: string }
  | { readonly kind: 'directory'; readonly destination: string; readonly mode: number }
  | { readonly kind: 'tmpfs'; readonly destination: string; readonly mode: number; readonly bytes: number }
  | { readonly kind: 'proc' | 'dev' | 'read_only'; readonly destination: string };

/** What the plan needs to know of a command beside its scopes. */
export interface SandboxCommand {
  /** Only what the contract's env_allow and the host's config grant; it goes over the sandbox's own variables. */
  readonly environment: Readonly<Record<string, string>>;
  readonly network: NetworkMode;
  readonly limits: RunLimits;
  /** The names of the secrets that it gets. */
  readonly secrets: readonly string[];
  /** False: none but connected pairs, as another run could be at the other end. */
  readonly unixSockets: boolean;
  /** Made up for it, outside of all scopes. Absent: none. */
  readonly files?: readonly MadeUpFile[];
}

/** A file of a sandbox that is on no host. */
export interface MadeUpFile {
  readonly destination: string;
  readonly mode: number;
  readonly content: string;
}

/** The name that a plan gives the descriptor of the copies of the host's /etc. */
export const etcDescriptor = 'etc';

const mebibyte = 1024 * 1024;
// They live in memory, as /tmp does, and count as the command's.
const homeBytes = 256 * mebibyte;
const shmBytes = 64 * mebibyte;
// Of symlinks with long targets, one a page; what else lies in a mask is mounted.
const maskBytes = mebibyte;

/** Every namespace by name: `--unshare-all` goes on without the ones that it cannot have. */
export const namespaces: readonly Namespace[] = ['user', 'ipc', 'pid', 'uts', 'cgroup', 'net'];

/** The sandbox for a command. Pure: it opens nothing and asks the host nothing. */
export function planSandbox(facts: RunFacts, scopes: ResolvedScopes, command: SandboxCommand): SandboxPlan {
  const { network, limits } = command;
  return {
    bwrapVersion: facts.bwrapVersion,
    dieWithParent: true,
    newSession: true,
    disableUserns: true,
    droppedCapabilities: ['ALL'],
    // Whoever has the host's network has no namespace of its own for it: policy, ceiling and an approval say so.
    namespaces: network === 'full' ? namespaces.filter((name) => name !== 'net') : namespaces,
    network,
    hostname: sandboxHostname,
    uid: sandboxUid,
    gid: sandboxGid,
    ...(facts.executorUid === facts.jobUser.uid ? {} : { credentials: toCredentials(facts.jobUser) }),
    umask: facts.umask,
    clearEnvironment: true,
    environment: {
      HOME: sandboxHome,
      LANG: 'C.UTF-8',
      PATH: sandboxPath,
      USER: 'user',
      ...command.environment,
    },
    mounts: [
      ...systemMounts(facts),
      ...etcMounts(facts, network, scopes),
      ...kernelMounts(facts),
      ...privateMounts(limits, scopes),
      ...secretMounts(command.secrets),
      ...fileMounts(command.files ?? [], facts),
      ...scopeMounts(scopes),
      // Last: until here bwrap itself has to make mount points. Else / and /dev are writable tmpfs of half the memory.
      ...[...emptyDirectories(scopes), ...scopes.masks, ...facts.maskedDirectories, '/dev', '/proc', '/'].map(
        (destination): Mount => ({ kind: 'read_only', destination }),
      ),
    ],
    cwd: scopes.cwd,
    seccomp: planFilter(facts, command),
    rlimits: planRlimits(facts, limits),
    ...planCgroup(facts, limits),
    writeBytes: limits.write_bytes,
    writeFiles: limits.write_files,
  };
}

function planFilter({ seccomp }: HostFacts, { unixSockets }: SandboxCommand): SandboxPlan['seccomp'] {
  const { sha256, programs } = unixSockets ? seccomp : seccomp.withoutUnixSockets;
  return { sha256, programs: programs.length };
}

function planRlimits({ cgroups, coreBytes }: HostFacts, limits: RunLimits): SandboxPlan['rlimits'] {
  return {
    core: coreBytes,
    fsize: limits.file_bytes,
    nofile: limits.open_files,
    // Where no cgroup counts them. It counts the job user's processes, not this command's (setrlimit(2)).
    ...(cgroups === 'none' ? { nproc: limits.processes } : {}),
  };
}

function planCgroup({ cgroups }: HostFacts, limits: RunLimits): Pick<SandboxPlan, 'cgroup'> {
  if (cgroups === 'none') return {};
  const { memory_bytes, processes, cpu_millis } = limits;
  return { cgroup: { mechanism: cgroups, memory_bytes, processes, cpu_millis } };
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

function etcMounts({ etc, resolverPaths }: HostFacts, network: NetworkMode, scopes: ResolvedScopes): Mount[] {
  const madeUp = { ...madeUpEtcFiles, '/etc/gitconfig': toGitconfig(etc.gitconfig) };
  // A link would be in the way of what a contract declares by the same name.
  const own = [...scopes.binds.map((it) => it.destination), ...scopes.directories];
  const taken = new Set([...own, ...scopes.links.map(({ path }) => path)]);
  return [
    { kind: 'directory', destination: '/etc', mode: 0o755 },
    ...etc.live.map(asHostMount),
    ...(network === 'full' ? resolverPaths.map(asHostMount) : []),
    { kind: 'tree', descriptor: etcDescriptor, destination: etcCopies, sha256: etc.sha256 },
    ...[...etc.links].flatMap(([destination, target]): Mount[] =>
      [...taken].some((path) => isWithin(destination, path))
        ? []
        : [{ kind: 'symlink', target, destination }],
    ),
    ...Object.entries(madeUp).map(
      ([destination, content]): Mount => ({
        kind: 'data',
        descriptor: `data:${destination}`,
        destination,
        mode: 0o444,
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

function privateMounts({ tmp_bytes: tmpBytes }: RunLimits, scopes: ResolvedScopes): Mount[] {
  const declared = [...scopes.binds.map((it) => it.destination), ...scopes.directories];
  return [
    { kind: 'tmpfs', destination: '/tmp', mode: 0o1777, bytes: tmpBytes },
    // Under one limit. Where something of it is declared, it is what was declared.
    ...(declared.some((path) => isWithin(path, '/var/tmp')) ? [] : [varTmp]),
    { kind: 'tmpfs', destination: sandboxHome, mode: 0o700, bytes: homeBytes },
    { kind: 'tmpfs', destination: '/dev/shm', mode: 0o1777, bytes: shmBytes },
  ];
}

const varTmp: Mount = { kind: 'symlink', target: '/tmp', destination: '/var/tmp' };

// What the host shows there comes first.
function fileMounts(files: readonly MadeUpFile[], { etc }: HostFacts): Mount[] {
  const shown = [...etc.live, ...etc.links.keys()];
  const free = files.filter(({ destination }) => !shown.some((path) => isWithin(destination, path)));
  return free.map((file): Mount => ({ kind: 'data', descriptor: `data:${file.destination}`, ...file }));
}

// On the root file system, which is the command's own, in memory, and gone with it.
function secretMounts(names: readonly string[]): Mount[] {
  if (names.length === 0) return [];
  return [
    { kind: 'directory', destination: secretsDirectory, mode: 0o700 },
    ...names.map(
      (name): Mount => ({
        kind: 'secret',
        descriptor: toSecretDescriptor(name),
        destination: toSecretPath(name),
        mode: 0o400,
      }),
    ),
  ];
}

/** The name that a plan gives the descriptor of a secret. */
export function toSecretDescriptor(name: string): string {
  return `secret:${name}`;
}

function scopeMounts({ binds, directories, links, masks, unlisted }: ResolvedScopes): Mount[] {
  const modeOf = (path: string): number => (unlisted.includes(path) ? 0o111 : 0o755);
  const isMasked = ({ path }: ScopeLink): boolean => masks.some((mask) => isWithin(path, mask));
  const toLink = ({ path, target }: ScopeLink): Mount => ({ kind: 'symlink', target, destination: path });
  // Each comes after what it lies in.
  const nested = [
    ...masks.map(
      (destination): Mount => ({ kind: 'tmpfs', destination, mode: modeOf(destination), bytes: maskBytes }),
    ),
    ...links.filter(isMasked).map(toLink),
    ...binds.map(
      ({ destination, writable }): Mount => ({
        kind: 'scope',
        descriptor: toScopeName(destination),
        destination,
        writable,
      }),
    ),
  ];
  return [
    ...directories.map(
      (destination): Mount =>
        isPrivate(destination)
          ? { kind: 'tmpfs', destination, mode: modeOf(destination), bytes: 4096 }
          : { kind: 'directory', destination, mode: modeOf(destination) },
    ),
    ...links.filter((link) => !isMasked(link)).map(toLink),
    ...nested.toSorted((one, other) => (one.destination < other.destination ? -1 : 1)),
  ];
}

// A directory of the view that lies below /tmp, for example, is as read-only as it is elsewhere.
function emptyDirectories({ directories }: ResolvedScopes): string[] {
  return directories.filter(isPrivate);
}

function isPrivate(path: string): boolean {
  return privateDirectories.some((directory) => isWithin(path, directory));
}

function asHostMount(path: string): Mount {
  return { kind: 'host', source: path, destination: path };
}
