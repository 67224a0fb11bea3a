import { readFileSync, writeFileSync } from 'node:fs';

export type CgroupMechanism = 'cgroup-v1' | 'cgroup-v2';

/** The controllers that jobs are limited by. */
export const controllers = ['memory', 'pids', 'cpu'] as const;
export type Controller = (typeof controllers)[number];

/** Where this process's own cgroups are. With v2, and where v1 mounts controllers together, several are one. */
export interface Hierarchies {
  readonly mechanism: CgroupMechanism;
  /** The directory of this process's own group, by controller. */
  readonly own: Readonly<Record<Controller, string>>;
  /** Where the hierarchy is mounted, by controller. */
  readonly mounts: Readonly<Record<Controller, string>>;
}

interface CgroupMount {
  readonly type: string;
  readonly root: string;
  readonly point: string;
  readonly options: readonly string[];
}

/**
 * Finds them from what the kernel says of this process (proc_pid_mountinfo(5), cgroups(7)). A controller belongs to one
 * version at a time, so on a host that mounts both, whichever has all three of them is meant; undefined where none has.
 * @param readControllers what `cgroup.controllers` of a v2 group says; undefined where there is no such file
 */
export function findHierarchies(
  mountinfo: string,
  selfCgroup: string,
  readControllers: (directory: string) => string | undefined,
): Hierarchies | undefined {
  const mounts = parseMounts(mountinfo);
  return findV1(mounts, selfCgroup) ?? findV2(mounts, selfCgroup, readControllers);
}

function findV1(mounts: readonly CgroupMount[], selfCgroup: string): Hierarchies | undefined {
  const found = controllers.flatMap((controller) => {
    const mount = mounts.find(({ type, options }) => type === 'cgroup' && options.includes(controller));
    const path = findPath(selfCgroup, (names) => names.includes(controller));
    return mount === undefined || path === undefined ? [] : [[controller, mount, path] as const];
  });
  return found.length === controllers.length ? toHierarchies('cgroup-v1', found) : undefined;
}

function findV2(
  mounts: readonly CgroupMount[],
  selfCgroup: string,
  readControllers: (directory: string) => string | undefined,
): Hierarchies | undefined {
  const mount = mounts.find(({ type }) => type === 'cgroup2');
  const path = findPath(selfCgroup, (names) => names.length === 1 && names[0] === '');
  if (mount === undefined || path === undefined) return undefined;
  // At the mount: a group of our own may have been given fewer than there are.
  const offered = readControllers(mount.point)?.trim().split(' ') ?? [];
  if (!controllers.every((controller) => offered.includes(controller))) return undefined;
  return toHierarchies(
    'cgroup-v2',
    controllers.map((controller) => [controller, mount, path] as const),
  );
}

function toHierarchies(
  mechanism: CgroupMechanism,
  found: readonly (readonly [Controller, CgroupMount, string])[],
): Hierarchies {
  const pick = (of: (mount: CgroupMount, path: string) => string) =>
    Object.fromEntries(found.map(([name, mount, path]) => [name, of(mount, path)])) as Record<
      Controller,
      string
    >;
  return { mechanism, own: pick(toDirectory), mounts: pick(({ point }) => point) };
}

// A container may see only a part of the hierarchy: the mount's root is then above, or is, its own group.
function toDirectory({ root, point }: CgroupMount, path: string): string {
  const below =
    root !== '/' && (path === root || path.startsWith(`${root}/`)) ? path.slice(root.length) : path;
  return below === '/' || below === '' ? point : `${point}${below}`;
}

// `ID:CONTROLLERS:PATH`; the path may hold colons.
function findPath(selfCgroup: string, matches: (names: readonly string[]) => boolean): string | undefined {
  for (const line of selfCgroup.split('\n')) {
    const [, names, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (names !== undefined && path !== undefined && matches(names.split(','))) return path;
  }
  return undefined;
}

function parseMounts(mountinfo: string): CgroupMount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after] = line.split(' - ');
    const [, , , root, point] = before.split(' ');
    const [type = '', , options = ''] = after?.split(' ') ?? [];
    if (!type.startsWith('cgroup') || root === undefined || point === undefined) return [];
    return [{ type, root: unescapeOctal(root), point: unescapeOctal(point), options: options.split(',') }];
  });
}

// Blanks and backslashes are octal there.
function unescapeOctal(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Writes one of the kernel's files. Throws what it says, with `path` also where the write itself is refused. */
export function writeControl(path: string, value: string): void {
  try {
    // Without O_CREAT: the file is the kernel's, or it is not there.
    writeFileSync(path, value, { flag: 'r+' });
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { path });
  }
}

/** Writes it where that is possible. */
export function tryWriteControl(path: string, value: string): void {
  try {
    writeControl(path, value);
  } catch {
    // Not there, or not for this process.
  }
}

/** What one of the kernel's files says; undefined where it cannot be read. */
export function readControl(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
