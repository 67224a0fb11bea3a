import { lstatSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { type Check, failed, passed } from './check.ts';
import { lookOnHost, type Walk, walkPath } from './host-path.ts';

/** Where this process looks for the programs that it starts for itself, whatever its own PATH says. */
export const toolPath = '/usr/sbin:/usr/bin:/sbin:/bin';

// Whoever can change one of these is the executor, from its next start on. bwrap, whose place is the operator's, is
// asked about by itself. What may be missing on a host says so when it is needed.
const tools = ['prlimit', 'chrt', 'ionice', 'env', 'mkdir', 'nsenter', 'perl'];

/** Whether nobody but root, and who the executor is, can change the programs that it starts. */
export function examineTools(executorUid: number): Check {
  // All lie in the same few directories.
  const looked = new Looked();
  const found = tools.map((name) => posix.join('/', name)).flatMap((name) => findTool(name, looked));
  return found.map((path) => examineWith(path, executorUid, looked)).find(({ ok }) => !ok) ?? safe;
}

/** Looks at each path once, and so as long as one question takes. */
class Looked {
  readonly #looks = new Map<string, ReturnType<typeof lookOnHost>>();
  readonly #stats = new Map<string, Stats | undefined>();

  readonly look = (path: string): ReturnType<typeof lookOnHost> => {
    if (!this.#looks.has(path)) this.#looks.set(path, lookOnHost(path));
    return this.#looks.get(path);
  };

  stats(path: string): Stats | undefined {
    if (!this.#stats.has(path)) this.#stats.set(path, lstatSync(path, { throwIfNoEntry: false }));
    return this.#stats.get(path);
  }
}

const safe = passed('programs', 'nobody else can change the programs that the executor starts');

function findTool(name: string, { look }: Looked): string[] {
  const places = toolPath.split(':').map((directory) => directory + name);
  return places.filter((place) => walkPath(place, look) !== undefined).slice(0, 1);
}

/**
 * Whether nobody but root, and who the executor is, can change a program or put another one in its place: by the mode
 * and the owner of the file, of every directory above it, and of those that the symlinks to it go through. Ok where
 * there is no such file.
 */
export function examineProgramFile(path: string, executorUid: number): Check {
  return examineWith(path, executorUid, new Looked());
}

function examineWith(path: string, executorUid: number, looked: Looked): Check {
  const walk = walkPath(path, looked.look);
  for (const place of walk === undefined ? [] : placesOf(walk)) {
    const stats = looked.stats(place);
    const fault = stats === undefined ? undefined : findFault(stats, executorUid);
    if (fault === undefined) continue;
    const what = place === path ? path : `${place}, which leads to ${path},`;
    return failed('programs', `${what} ${fault.says}`, `${fault.remedy} ${place}`);
  }
  return safe;
}

function placesOf({ path, links }: Walk): Set<string> {
  return new Set([...links.map((link) => posix.dirname(link.path)), path].flatMap(withParents));
}

function withParents(path: string): string[] {
  return path === '/' ? ['/'] : [...withParents(posix.dirname(path)), path];
}

function findFault({ uid, mode }: Stats, executorUid: number) {
  if (uid !== 0 && uid !== executorUid)
    return { says: `belongs to uid ${uid}, who can replace it`, remedy: 'chown root' };
  if ((mode & 0o022) === 0) return undefined;
  return {
    says: `can be changed by ${(mode & 0o002) === 0 ? 'its group' : 'everybody'}`,
    remedy: 'chmod go-w',
  };
}
