import { toBuffer } from '../encoding/index.ts';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { hashLength, type NodeReader, nodeHash } from './tree.ts';

/** Hashes of a full tile, and entries of a full bundle. */
export const tileWidth = 256;

const tileHeight = 8;

/** A tile of hashes, or a bundle of entries, by its place (C2SP tlog-tiles). */
export interface Tile {
  /** Tiles of the level 0 have the hashes of leaves, those of a higher one the roots of full tiles of the level below. */
  readonly level: number | 'entries';
  readonly index: number;
  /** How many hashes or entries: 256 in a full one. */
  readonly width: number;
}

/** Its path below the log's prefix. */
export function tilePath({ level, index, width }: Tile): string {
  const groups = [String(index % 1000).padStart(3, '0')];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`);
  const part = width === tileWidth ? '' : `.p/${width}`;
  return `tile/${level}/${groups.join('/')}${part}`;
}

/** Reads such a path; only the one form of it. */
export function parseTilePath(path: string): Parsed<Tile> {
  const found = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path);
  if (found === null) return faulty('is no path of a tile');
  const [, level = '', groups = '', part] = found;
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, '')),
    width: part === undefined ? tileWidth : Number(part),
  };
  const isPlaced = tile.width > 0 && (tile.level === 'entries' || tile.level < 64);
  // Whatever it leaves out or adds, it is written in one way.
  return isPlaced && tilePath(tile) === path ? parsed(tile) : faulty('is no path of a tile');
}

/** How wide a tile is in a tree of so many leaves; 0: it has none there. */
export function widthIn(size: number, level: Tile['level'], index: number): number {
  const hashes = level === 'entries' ? size : Math.floor(size / tileWidth ** level);
  return Math.max(0, Math.min(tileWidth, hashes - index * tileWidth));
}

/** The bytes of a tile: of this width, or of the same tile of a larger tree. */
export type TileReader = (tile: Tile) => Promise<Uint8Array>;

/** Reads nodes of a tree of so many leaves out of its tiles, each of which is read once. */
export function nodesOf(read: TileReader, size: number): NodeReader {
  const tiles = new Map<string, Promise<Uint8Array>>();
  const hashesOf = (level: number, index: number): Promise<Uint8Array> => {
    const tile = { level, index, width: widthIn(size, level, index) };
    const path = tilePath(tile);
    const known = tiles.get(path) ?? read(tile);
    tiles.set(path, known);
    return known;
  };
  return async (height, index) => {
    const level = Math.floor(height / tileHeight);
    const count = 2 ** (height % tileHeight);
    const first = index * count;
    const hashes = await hashesOf(level, Math.floor(first / tileWidth));
    const at = first % tileWidth;
    return wholeHash(hashes.subarray(at * hashLength, (at + count) * hashLength));
  };
}

/** The hash over a power of two of hashes. Throws RangeError where it is none. */
export function wholeHash(hashes: Uint8Array): Uint8Array {
  if (hashes.length === 0 || !Number.isInteger(Math.log2(hashes.length / hashLength)))
    throw new RangeError(`${hashes.length} bytes are no whole subtree`);
  let row = hashes;
  while (row.length > hashLength) {
    const next = new Uint8Array(row.length / 2);
    for (let at = 0; at < next.length; at += hashLength)
      next.set(
        nodeHash(row.subarray(2 * at, 2 * at + hashLength), row.subarray(2 * at + hashLength, 2 * at + 64)),
        at,
      );
    row = next;
  }
  return row;
}

/** The longest entry that a bundle can have. */
const maxEntryBytes = 65_535;

/** Entries as a bundle has them: each behind its length, of two bytes, the higher first. Throws RangeError. */
export function formatBundle(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      if (entry.length > maxEntryBytes) throw new RangeError(`an entry of ${entry.length} bytes is too long`);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    }),
  );
}

/** The first `count` entries of a bundle, which has as many at least, and none beyond 256. */
export function parseBundle(bytes: Uint8Array, count: number): Parsed<Uint8Array[]> {
  const view = toBuffer(bytes);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (entries.length < count) {
    const end = at + 2 <= view.length ? at + 2 + view.readUInt16BE(at) : Number.POSITIVE_INFINITY;
    if (end > view.length) return faulty(`ends in its entry ${entries.length + 1} of ${count}`);
    entries.push(view.subarray(at + 2, end));
    at = end;
  }
  return parsed(entries);
}
