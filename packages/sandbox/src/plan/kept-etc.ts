import { fileURLToPath } from 'node:url';
import { keepOwnFile, readOwnFile, toFileKey } from '../host/index.ts';
import { HostFiles, isStillSo, type Seen, Sightings } from './etc-files.ts';
import { copiedEtc, liveEtc } from './etc-table.ts';
import { type EtcView, etcRules, gatherEtc } from './gather-etc.ts';

// What most hosts have of it is below one; a larger one is gathered each time.
const maxBytes = 16 * 1024 * 1024;
const fileName = 'etc.bin';

/** The first line of the file; the files' bytes follow, one after the other. */
interface Kept {
  readonly of: string;
  readonly seen: Seen;
  readonly view: Omit<EtcView, 'links' | 'files' | 'inner'> & {
    readonly links: readonly (readonly [string, string])[];
    readonly inner: readonly (readonly [string, string])[];
    readonly files: readonly (readonly [path: string, bytes: number])[];
  };
}

/**
 * As `gatherEtc`, or what that found the last time where all that it asked is as it was then: every file, every directory,
 * and what is not there. Kept and taken as `readOwnFile` takes it.
 * @param keptIn absolute
 */
export function recallEtc(shown: readonly string[], keptIn: string, root = '/'): EtcView {
  const of = toKey(shown, root);
  const kept = recall(keptIn, of);
  if (kept !== undefined) return kept;
  const sightings = new Sightings();
  const view = gatherEtc(shown, new HostFiles(root, sightings.note));
  const seen = sightings.seen();
  if (seen !== undefined) keep(keptIn, { of, seen }, view);
  return view;
}

// Another csc may have other rules.
function toKey(shown: readonly string[], root: string): string {
  return JSON.stringify([root, shown, toFileKey(fileURLToPath(etcRules)), liveEtc, copiedEtc]);
}

function recall(keptIn: string, of: string): EtcView | undefined {
  try {
    const bytes = readOwnFile(keptIn, fileName, maxBytes);
    let at = bytes.indexOf('\n') + 1;
    // As this very code has written it: the key says so.
    const kept = JSON.parse(bytes.toString('utf8', 0, at)) as Kept;
    if (kept.of !== of || !isStillSo(kept.seen)) return undefined;
    const { links, inner, files, ...rest } = kept.view;
    const contents = new Map<string, Buffer>();
    for (const [path, length] of files) {
      contents.set(path, bytes.subarray(at, at + length));
      at += length;
    }
    if (at !== bytes.length) return undefined;
    return { ...rest, links: new Map(links), inner: new Map(inner), files: contents };
  } catch {
    return undefined;
  }
}

function keep(keptIn: string, { of, seen }: Pick<Kept, 'of' | 'seen'>, view: EtcView): void {
  const { links, inner, files, ...rest } = view;
  const lengths = [...files].map(([path, { length }]) => [path, length] as const);
  const kept: Kept = { of, seen, view: { ...rest, links: [...links], inner: [...inner], files: lengths } };
  const data = Buffer.concat([Buffer.from(`${JSON.stringify(kept)}\n`), ...files.values()]);
  if (data.length <= maxBytes) keepOwnFile(keptIn, fileName, data);
}
