import { type Stats, statSync } from 'node:fs';
import { descriptorPath, encodePath, isWithin, lookOnHost, mayExecute, walkPath } from '../host/index.ts';
import { explainNeeds, isReadable, type NotRunnable, readNeeds } from './explain-start.ts';
import type { RunFacts } from './facts.ts';
import { type Mount, type SandboxPlan, scopeDescriptors } from './plan.ts';
import type { ResolvedScopes } from './scopes.ts';

/** A program that is there, by the path that the sandbox shows it at, free of symlinks. */
export interface Executable {
  readonly code: 0;
  readonly path: string;
}

/**
 * Looks for a program as execvp(3) will inside the sandbox, in the sandbox's own view, so that one that is not there is
 * known before anything starts, and what one that is there really is. What only the kernel can tell (an access list) is
 * left to bwrap.
 */
export function findExecutable(
  program: string,
  plan: SandboxPlan,
  scopes: ResolvedScopes,
  facts: RunFacts,
): Executable | NotRunnable {
  return findIn(toView(plan, scopes), program, plan, facts);
}

function findIn(view: View, program: string, plan: SandboxPlan, facts: RunFacts): Executable | NotRunnable {
  const directories = program.includes('/') ? [''] : (plan.environment['PATH'] ?? '').split(':');
  const candidates = directories.map((directory) => inside(plan.cwd, directory, program));
  const found: Found[] = [];
  for (const path of candidates) {
    const there = statInside(path, view);
    if (there === undefined) continue;
    if (there.stats.isFile() && mayExecute(there.stats, facts.jobUser))
      return findMissing(program, there, view, { plan, facts }) ?? { code: 0, path: there.path };
    found.push(there);
  }
  const searched = program.includes('/') ? '' : ` (PATH is ${plan.environment['PATH']})`;
  if (found.length > 0)
    return {
      code: 126,
      message: `${program} is not an executable file: ${describe(found, facts)}${searched}`,
    };
  if (searched !== '')
    return {
      code: 127,
      message: `${program} is not in the sandbox: in none of the directories of its PATH, ${plan.environment['PATH']}`,
    };
  return {
    code: 127,
    message: `${program} is not in the sandbox: nothing is at ${candidates[0]}, or no declared path shows it`,
  };
}

/** What a program's name stands for in one sandbox. */
export type FindProgram = (program: string) => Executable | NotRunnable;

/** `findExecutable` for who asks several times before a launch: each name is looked for once. */
export function createFindProgram(plan: SandboxPlan, scopes: ResolvedScopes, facts: RunFacts): FindProgram {
  const found = new Map<string, Executable | NotRunnable>();
  let view: View | undefined;
  return (program) => {
    view ??= toView(plan, scopes);
    const known = found.get(program) ?? findIn(view, program, plan, facts);
    found.set(program, known);
    return known;
  };
}

function describe([first]: readonly Found[], { jobUser }: RunFacts): string {
  if (first === undefined) return 'it is gone';
  if (first.stats.isDirectory()) return `${first.path} is a directory`;
  if (!first.stats.isFile()) return `${first.path} is no file`;
  const mode = (first.stats.mode & 0o7777).toString(8).padStart(4, '0');
  return `the job user (uid ${jobUser.uid}) may not execute ${first.path}, which has the mode ${mode}`;
}

// The kernel says of these that the program itself is not there (execve(2), ENOENT).
function findMissing(
  program: string,
  { host, stats }: Found,
  view: View,
  { plan, facts }: { readonly plan: SandboxPlan; readonly facts: RunFacts },
): NotRunnable | undefined {
  const needs = isReadable(stats, facts.jobUser) ? readNeeds(host) : undefined;
  if (needs === undefined) return undefined;
  const path = inside(plan.cwd, '', needs.interpreter);
  // What the kernel has there is not looked into.
  const isOpen =
    ['/proc', '/dev'].some((tree) => isWithin(path, tree)) || statInside(path, view) !== undefined;
  return isOpen ? undefined : explainNeeds(program, needs);
}

// Not normalised: `..` after a symlink is not textual.
function inside(cwd: string, directory: string, program: string): string {
  const path = directory === '' ? program : `${directory}/${program}`;
  return path.startsWith('/') ? path : `${cwd}/${path}`;
}

interface View {
  /** What covers a path, by where it is mounted, with its place in the order: the last that covers a path wins. */
  readonly covers: ReadonlyMap<string, { readonly mount: Mount; readonly order: number }>;
  /** The symlinks that the sandbox has of its own. */
  readonly links: ReadonlyMap<string, string>;
  /** Where something is mounted, and the directories that are there because of it. */
  readonly shown: ReadonlySet<string>;
  readonly descriptors: ReadonlyMap<string, number>;
}

function toView({ mounts }: SandboxPlan, scopes: ResolvedScopes): View {
  const covers = new Map<string, { mount: Mount; order: number }>();
  const links = new Map<string, string>();
  const shown = new Set<string>();
  for (const [order, mount] of mounts.entries()) {
    const { destination } = mount;
    if (mount.kind !== 'read_only') covers.set(destination, { mount, order });
    if (mount.kind === 'symlink') links.set(destination, mount.target);
    for (const path of upFrom(destination)) shown.add(path);
  }
  return { covers, links, shown, descriptors: scopeDescriptors(scopes) };
}

/** A normalised absolute path and all directories above it. */
function upFrom(path: string): string[] {
  const paths = [path];
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1))
    paths.push(path.slice(0, end));
  if (path !== '/') paths.push('/');
  return paths;
}

/** What the sandbox has at `path`, which is `host` on the host. */
interface Found {
  readonly path: string;
  readonly host: string;
  readonly stats: Stats;
}

function statInside(path: string, view: View): Found | undefined {
  const walk = walkPath(path, (at) => lookInside(at, view));
  const host = walk === undefined ? undefined : toHost(walk.path, view);
  if (walk === undefined || host === undefined) return undefined;
  const stats = statSync(encodePath(host), { throwIfNoEntry: false });
  return stats === undefined ? undefined : { path: walk.path, host, stats };
}

function lookInside(path: string, view: View): { readonly target?: string } | undefined {
  const target = view.links.get(path);
  if (target !== undefined) return { target };
  if (view.shown.has(path)) return {};
  const host = toHost(path, view);
  return host === undefined ? undefined : lookOnHost(host);
}

/** Where the host has what the sandbox shows at `path`; undefined for what only the sandbox has. */
function toHost(path: string, { covers, descriptors }: View): string | undefined {
  let last: { readonly mount: Mount; readonly order: number } | undefined;
  for (const directory of upFrom(path)) {
    const cover = covers.get(directory);
    if (cover !== undefined && (last === undefined || cover.order > last.order)) last = cover;
  }
  if (last === undefined) return undefined;
  const { mount } = last;
  const rest = path.slice(mount.destination.length);
  if (mount.kind === 'host') return `${mount.source}${rest}`;
  const fd = mount.kind === 'scope' ? descriptors.get(mount.descriptor) : undefined;
  return fd === undefined ? undefined : `${descriptorPath(fd)}${rest}`;
}
