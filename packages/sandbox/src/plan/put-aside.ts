import { posix } from 'node:path';
import { destinationOf } from '@csc-fleet/common/files';

// As people, editors and tools that renew keys name what was there before, or will be: key.old, key.pem.bak, key~, key.2026-11-28.
const aside =
  /(?:~|[._-](?:old|bak|backup|orig|save[d]?|prev(?:ious)?|new|next|tmp|dpkg-(?:old|new|dist)|rpm(?:save|orig|new)|\d[\d._:TZ-]*))+$/i;

/**
 * Of the name under which something is put aside, by csc until it is whole, or by others as what it was before, the name that it then
 * has or had; of any other name itself. `key.pub` is none: it is for anybody to read.
 */
export function nameBefore(path: string): string {
  const [directory, name] = [posix.dirname(path), posix.basename(destinationOf(path))];
  const [, edited] = /^\.(.+)\.sw[a-p]$/.exec(name) ?? /^#(.+)#$/.exec(name) ?? [];
  const before = edited ?? name.replace(aside, '');
  return before === '' ? path : posix.join(directory, before);
}

/**
 * The names beside a file that are of its earlier versions, where a symlink of its name without a number leads to it: certbot keeps
 * them so (live/NAME/privkey.pem leads to archive/NAME/privkeyN.pem, https://eff-certbot.readthedocs.io, "Where are my certificates?").
 * @param names those of its directory, which are asked for where there may be any
 */
export function numberedBeside(
  place: string,
  links: readonly string[],
  names: () => readonly string[],
): string[] {
  const own = posix.basename(place);
  const [, stem = '', rest = ''] = /^(.+?)\d+(\.[^.]+)$/.exec(own) ?? [];
  if (stem === '' || !links.some((link) => posix.basename(link) === `${stem}${rest}`)) return [];
  const isNumbered = (name: string): boolean =>
    name.startsWith(stem) && name.endsWith(rest) && /^\d+$/.test(name.slice(stem.length, -rest.length));
  return names()
    .filter((name) => name !== own && isNumbered(name))
    .map((name) => posix.join(posix.dirname(place), name));
}
