import type { Mount, SandboxPlan } from './plan.ts';

/** Which number bwrap finds each of its descriptors at. */
export interface DescriptorNumbers {
  /** Where bwrap reads its options, before it does anything. */
  readonly args: number;
  readonly status: number;
  readonly block: number;
  /** The programs of the system call filter, in order. */
  readonly seccomp: readonly number[];
  /** By the plan's names. */
  readonly mounts: ReadonlyMap<string, number>;
}

/**
 * Gives every descriptor of a plan a number: first `taken`, then from 3 on. `taken` are the numbers of descriptors that
 * this process cannot keep from its children; bwrap closes what it is told about, so nothing of them gets inside.
 */
export function numberDescriptors(plan: SandboxPlan, taken: readonly number[] = []): DescriptorNumbers {
  const filters = plan.seccomp.programs;
  const names = plan.mounts.flatMap((mount) => ('descriptor' in mount ? [mount.descriptor] : []));
  const pool = [...taken];
  for (let number = 3; pool.length < names.length + filters + 3; number += 1) {
    if (!taken.includes(number)) pool.push(number);
  }
  const [args = 3, status = 4, block = 5, ...rest] = pool;
  const seccomp = rest.splice(0, filters);
  const mounts = new Map(names.map((name, index) => [name, rest[index] ?? -1]));
  return { args, status, block, seccomp, mounts };
}

/**
 * bwrap's options for a plan, in the order in which bwrap applies them; the command itself is not among them. They go
 * over `--args`, so that the paths of the host are in nobody's command line. Pure, and nothing is asked of bwrap that the
 * plan does not say, or `numbers`, by which bwrap and its launcher talk. See bwrap(1).
 * @param made namespaces that bwrap is started in, so that it makes none
 */
export function bwrapArguments(
  plan: SandboxPlan,
  numbers: DescriptorNumbers,
  made: readonly SandboxPlan['namespaces'][number][] = [],
): string[] {
  return [
    // First: where this process is killed while bwrap reads them, what bwrap has is all that it gets, and it must not
    // be a command that waits for nobody.
    ...['--block-fd', String(numbers.block)],
    ...['--json-status-fd', String(numbers.status)],
    // Filters stack, and the strictest action wins: an operator's own can only take away.
    ...numbers.seccomp.flatMap((number) => ['--add-seccomp-fd', String(number)]),
    ...(plan.dieWithParent ? ['--die-with-parent'] : []),
    ...(plan.newSession ? ['--new-session'] : []),
    ...plan.namespaces.filter((it) => !made.includes(it)).map((namespace) => `--unshare-${namespace}`),
    ...(plan.disableUserns ? ['--disable-userns', '--assert-userns-disabled'] : []),
    ...plan.droppedCapabilities.flatMap((capability) => ['--cap-drop', capability]),
    ...['--uid', String(plan.uid), '--gid', String(plan.gid)],
    ...['--hostname', plan.hostname],
    ...(plan.clearEnvironment ? ['--clearenv'] : []),
    ...Object.entries(plan.environment).flatMap(([name, value]) => ['--setenv', name, value]),
    ...plan.mounts.flatMap((mount) => mountArguments(mount, numbers.mounts)),
    ...['--chdir', plan.cwd],
  ];
}

function mountArguments(mount: Mount, numbers: ReadonlyMap<string, number>): string[] {
  const { kind, destination } = mount;
  switch (kind) {
    case 'host':
      return ['--ro-bind', mount.source, destination];
    case 'scope':
      return [
        mount.writable ? '--bind-fd' : '--ro-bind-fd',
        numberOf(mount.descriptor, numbers),
        destination,
      ];
    case 'tree':
      return ['--ro-bind-fd', numberOf(mount.descriptor, numbers), destination];
    // Not --ro-bind-data: a file of the root tmpfs, which becomes read-only, costs no mount of its own.
    case 'data':
    case 'secret':
      return ['--perms', toOctal(mount.mode), '--file', numberOf(mount.descriptor, numbers), destination];
    case 'symlink':
      return ['--symlink', mount.target, destination];
    case 'directory':
      return ['--perms', toOctal(mount.mode), '--dir', destination];
    case 'tmpfs':
      return ['--perms', toOctal(mount.mode), '--size', String(mount.bytes), '--tmpfs', destination];
    case 'proc':
      return ['--proc', destination];
    case 'dev':
      return ['--dev', destination];
    case 'read_only':
      return ['--remount-ro', destination];
  }
}

function numberOf(descriptor: string, numbers: ReadonlyMap<string, number>): string {
  const number = numbers.get(descriptor);
  if (number === undefined) throw new TypeError(`the plan's descriptor ${descriptor} has no number`);
  return String(number);
}

function toOctal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
