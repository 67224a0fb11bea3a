import { lstatSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { type Check, failed, passed } from './check.ts';
import { type Walk, walkPath } from './host-path.ts';

/** Where this process looks for the programs that it starts for itself, whatever its own PATH says. */
export const toolPath = '/usr/sbin:/usr/bin:/sbin:/bin';

// Whoever can change one of these is the executor, from its next start on. bwrap, whose place is the operator's, is
// asked about by itself. What may be missing on a host says so when it is needed.
const tools = ['prlimit', 'chrt', 'ionice', 'env', 'mkdir', 'nsenter', 'perl'];

/** Whether nobody but root, and who the executor is, can change the programs that it starts. */
export function examineTools(executorUid: number): Check {
  const found = tools.map((name) => posix.join('/', name)).flatMap(findTool);
  return found.map((path) => examineProgramFile(path, executorUid)).find(({ ok }) => !ok) ?? safe;
}

const safe = passed('programs', 'nobody else can change the programs that the executor starts');

function findTool(name: string): string[] {
  const places = toolPath.split(':').map((directory) => directory + name);
  return places.filter((place) => walkPath(place) !== undefined).slice(0, 1);
}

/**
 * Whether nobody but root, and who the executor is, can change a program or put another one in its place: by the mode
 * and the owner of the file, of every directory above it, and of those that the symlinks to it go through. Ok where
 * there is no such file.
 */
export function examineProgramFile(path: string, executorUid: number): Check {
  const walk = walkPath(path);
  for (const place of walk === undefined ? [] : placesOf(walk)) {
    const stats = lstatSync(place, { throwIfNoEntry: false });
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
