/** Which kind of absolute path it is; the kinds are never compared with each other. */
export type PathFlavour = 'posix' | 'windows-drive' | 'unc';

/** An absolute path in the form that is compared. */
export interface ParsedPath {
  readonly flavour: PathFlavour;
  /**
   * Repeated slashes and `.` segments folded, no slash at the end except in a root; Windows paths in lower case with
   * `/`. Equal to what Python's PurePosixPath and PureWindowsPath compare by.
   */
  readonly normalized: string;
}

const driveRoot = /^[A-Za-z]:[\\/]/;
// A UNC path names a host and a share; with either missing Python does not take it for absolute.
const uncRoot = /^[\\/]{2}([^\\/]+)[\\/]([^\\/]+)(?:[\\/]|$)/;

/** Undefined where the path is not absolute. `//…` and `\\…` are Windows UNC, as in the reference, not POSIX. */
export function parsePath(path: string): ParsedPath | undefined {
  if (path.startsWith('//') || path.startsWith('\\\\')) return parseUnc(path);
  if (path.startsWith('/')) return { flavour: 'posix', normalized: foldPosix(path) };
  return driveRoot.test(path) ? parseDrive(path) : undefined;
}

// Nearly every path is in this form already. A name that begins with a dot is looked at for nothing.
function foldPosix(path: string): string {
  const isFolded = !path.endsWith('/') && !path.includes('//') && !path.includes('/.');
  return isFolded ? path : `/${fold(path.split('/'))}`;
}

function parseUnc(path: string): ParsedPath | undefined {
  const match = uncRoot.exec(path);
  if (match === null) return undefined;
  const rest = fold(path.slice(match[0].length).split(/[\\/]/));
  const root = `//${match[1]}/${match[2]}/`;
  return { flavour: 'unc', normalized: `${root}${rest}`.toLowerCase() };
}

function parseDrive(path: string): ParsedPath {
  const rest = fold(path.slice(3).split(/[\\/]/));
  return { flavour: 'windows-drive', normalized: `${path.slice(0, 2)}/${rest}`.toLowerCase() };
}

function fold(segments: readonly string[]): string {
  return segments.filter((segment) => segment !== '' && segment !== '.').join('/');
}

/** True where the path is one of the prefixes or lies below one: `/workspace` covers `/workspace/a`, not `/workspace-evil`. */
export function isCoveredBy(path: string, prefixes: readonly string[]): boolean {
  const inner = parsePath(path);
  return inner !== undefined && prefixes.some((prefix) => covers(parsePath(prefix), inner));
}

/**
 * The same for many paths, in a time that the number of prefixes has little to do with: whoever writes a contract says how many paths
 * there are, and whoever writes a policy how many prefixes.
 */
export function coveredBy(prefixes: readonly string[]): (path: string) => boolean {
  const byLength = new Map<number, Set<string>>();
  for (const prefix of prefixes) {
    const outer = parsePath(prefix);
    if (outer === undefined) continue;
    const { length } = outer.normalized;
    const same = byLength.get(length) ?? new Set();
    byLength.set(length, same.add(keyOf(outer.flavour, outer.normalized)));
  }
  return (path) => {
    const inner = parsePath(path);
    if (inner === undefined) return false;
    const { flavour, normalized } = inner;
    for (const [length, same] of byLength) {
      if (!mayEndAt(normalized, length)) continue;
      if (same.has(keyOf(flavour, normalized.slice(0, length)))) return true;
    }
    return false;
  };
}

function keyOf(flavour: PathFlavour, normalized: string): string {
  return `${flavour} ${normalized}`;
}

function mayEndAt(normalized: string, length: number): boolean {
  return normalized.length === length || normalized[length - 1] === '/' || normalized[length] === '/';
}

function covers(outer: ParsedPath | undefined, inner: ParsedPath): boolean {
  if (outer?.flavour !== inner.flavour || !inner.normalized.startsWith(outer.normalized)) return false;
  const { length } = outer.normalized;
  return (
    inner.normalized.length === length || outer.normalized.endsWith('/') || inner.normalized[length] === '/'
  );
}

/** True where a segment is `..`, in any kind of path, relative ones included. */
export function hasParentSegment(path: string): boolean {
  if (!path.includes('..')) return false;
  const separator = parsePath(path)?.flavour === 'posix' ? '/' : /[\\/]/;
  return path.split(separator).includes('..');
}
