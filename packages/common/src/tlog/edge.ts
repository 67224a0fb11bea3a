import { type Tile, tileWidth, wholeHash, widthIn } from './tile.ts';
import { emptyRoot, hashLength, nodeHash, type TreeHead } from './tree.ts';

/** A tile with its bytes. */
export interface FilledTile {
  readonly tile: Tile;
  readonly bytes: Uint8Array;
}

/**
 * The right edge of a growing tree: of each level, the tile that is not full yet. What a leaf adds costs one hash, and a
 * full tile 255 more; the root costs what the edge has.
 */
export class TreeEdge {
  #size = 0;
  /** Of each level, the hashes of its last tile, which is not full. */
  readonly #levels: Uint8Array[] = [];

  /** The edge of a tree of so many leaves, from its partial tiles. Rejects as `read` does. */
  static async restore(size: number, read: (tile: Tile) => Promise<Uint8Array>): Promise<TreeEdge> {
    const edge = new TreeEdge();
    edge.#size = size;
    for (let level = 0, count = size; count > 0; level += 1, count = Math.floor(count / tileWidth)) {
      const index = Math.floor(count / tileWidth);
      const width = widthIn(size, level, index);
      const bytes = width === 0 ? new Uint8Array() : await read({ level, index, width });
      edge.#levels.push(Uint8Array.from(bytes.subarray(0, width * hashLength)));
    }
    return edge;
  }

  /** The same edge, to be added to on its own. */
  copy(): TreeEdge {
    const copy = new TreeEdge();
    copy.#size = this.#size;
    copy.#levels.push(...this.#levels);
    return copy;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds the hash of a leaf; gives the tiles that are full now. */
  add(leaf: Uint8Array): FilledTile[] {
    const full: FilledTile[] = [];
    this.#size += 1;
    let hash = leaf;
    for (let level = 0; ; level += 1) {
      const hashes = Buffer.concat([this.#levels[level] ?? new Uint8Array(), hash]);
      if (hashes.length < tileWidth * hashLength) {
        this.#levels[level] = hashes;
        return full;
      }
      const index = this.#size / tileWidth ** (level + 1) - 1;
      full.push({ tile: { level, index, width: tileWidth }, bytes: hashes });
      this.#levels[level] = new Uint8Array();
      hash = wholeHash(hashes);
    }
  }

  /** The tiles that are not full, as this size has them. */
  partial(): FilledTile[] {
    return this.#levels.flatMap((bytes, level) => {
      const width = bytes.length / hashLength;
      const index = Math.floor(this.#size / tileWidth ** (level + 1));
      return width === 0 ? [] : [{ tile: { level, index, width }, bytes }];
    });
  }

  head(): TreeHead {
    let root: Uint8Array | undefined;
    for (const hashes of this.#levels)
      for (const whole of wholesOf(hashes).reverse())
        root = root === undefined ? whole : nodeHash(whole, root);
    return { size: this.#size, root: root ?? emptyRoot };
  }
}

// The whole subtrees that a row of hashes comes to, the largest first.
function wholesOf(hashes: Uint8Array): Uint8Array[] {
  const wholes: Uint8Array[] = [];
  let at = 0;
  for (let count = tileWidth / 2; count >= 1; count /= 2) {
    const length = count * hashLength;
    if (hashes.length - at < length) continue;
    wholes.push(wholeHash(hashes.subarray(at, at + length)));
    at += length;
  }
  return wholes;
}
