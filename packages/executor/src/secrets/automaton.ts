/** A byte sequence to find, and whose it is. */
export interface Pattern {
  /** At least two. */
  readonly bytes: Buffer;
  readonly owner: number;
}

/** Takes each match as its last byte is seen: the longest one that ends there. `end` is behind it. */
export type OnMatch = (start: number, end: number, owner: number) => void;

/** The state in which nothing is under way. */
export const idle = 0;

const none = -1;

/**
 * Finds any number of patterns in one pass, however the text is made: a job chooses its output, and must not be able to
 * choose one that takes the executor long (Aho and Corasick, "Efficient string matching", CACM 18(6), 1975).
 *
 * A state is a node of the trie of all patterns. Nearly every node has one child, which is made to be the next node in
 * number: a megabyte of patterns needs no map a node.
 */
export class Automaton {
  /** By node: the byte that leads to the node after it, or none. */
  readonly #chain: Int16Array;
  /** By node: its place in #rows; 0, where nothing is, for one without further children. */
  readonly #rowOf: Int32Array;
  /** By byte: the child, or none. */
  readonly #rows: Int32Array[] = [createRow()];
  /** By node: the node of its longest proper suffix. */
  readonly #fallback: Int32Array;
  readonly #depth: Int32Array;
  /** By node: the length of the longest pattern that ends here, 0 for none, and its owner. */
  readonly #matchLength: Int32Array;
  readonly #matchOwner: Int32Array;
  /** By two bytes: whether a pattern begins with them. In most places none does, and nothing else is looked at. */
  readonly #beginnings = new Uint8Array(65_536);
  #size = 1;

  /** Where two patterns are the same, the first one's owner counts. */
  constructor(patterns: readonly Pattern[]) {
    const most = patterns.reduce((sum, { bytes }) => sum + bytes.length, 1);
    this.#chain = new Int16Array(most).fill(none);
    this.#rowOf = new Int32Array(most);
    this.#fallback = new Int32Array(most);
    this.#depth = new Int32Array(most);
    this.#matchLength = new Int32Array(most);
    this.#matchOwner = new Int32Array(most);
    for (const pattern of patterns) this.#insert(pattern);
    this.#link();
  }

  /** Reads `text` from `from` on, in `state`; gives the state after it. */
  advance(text: Buffer, from: number, state: number, onMatch: OnMatch): number {
    const matchLength = this.#matchLength;
    let node = state;
    let at = from;
    while (at < text.length) {
      if (node === idle) at = this.#skip(text, at);
      node = this.#step(node, text[at] ?? 0);
      at += 1;
      const length = matchLength[node] ?? 0;
      if (length > 0) onMatch(at - length, at, this.#matchOwner[node] ?? 0);
    }
    return node;
  }

  /** How many bytes before a state's place may still become part of a match. */
  pending(state: number): number {
    let node = state;
    // Nothing is longer than what ends here, but the end of it may begin something else.
    while (node !== idle && this.#chain[node] === none && this.#rowOf[node] === 0) {
      node = this.#fallback[node] ?? idle;
    }
    return this.#depth[node] ?? 0;
  }

  /** The next place where a pattern may begin; the last one always may, for what is behind it is not known. */
  #skip(text: Buffer, from: number): number {
    const beginnings = this.#beginnings;
    const last = text.length - 1;
    let at = from;
    let byte = text[at] ?? 0;
    while (at < last) {
      const next = text[at + 1] ?? 0;
      if (beginnings[(byte << 8) | next] !== 0) return at;
      byte = next;
      at += 1;
    }
    return last;
  }

  #step(state: number, byte: number): number {
    let node = state;
    for (;;) {
      const child = this.#child(node, byte);
      if (child !== none || node === idle) return child === none ? idle : child;
      node = this.#fallback[node] ?? idle;
    }
  }

  #child(node: number, byte: number): number {
    if (this.#chain[node] === byte) return node + 1;
    return this.#rows[this.#rowOf[node] ?? 0]?.[byte] ?? none;
  }

  #insert({ bytes, owner }: Pattern): void {
    let node = idle;
    for (const byte of bytes) {
      const child = this.#child(node, byte);
      node = child === none ? this.#append(node, byte) : child;
    }
    this.#beginnings[((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)] = 1;
    if (this.#matchLength[node] !== 0) return;
    this.#matchLength[node] = bytes.length;
    this.#matchOwner[node] = owner;
  }

  #append(parent: number, byte: number): number {
    const node = this.#size;
    this.#size += 1;
    this.#depth[node] = (this.#depth[parent] ?? 0) + 1;
    if (node === parent + 1) this.#chain[parent] = byte;
    else this.#row(parent)[byte] = node;
    return node;
  }

  #row(node: number): Int32Array {
    const existing = this.#rowOf[node] ?? 0;
    if (existing === 0) this.#rowOf[node] = this.#rows.push(createRow()) - 1;
    return this.#rows[this.#rowOf[node] ?? 0] ?? createRow();
  }

  // In the order of depth, so that what a node falls back to is always done before it.
  #link(): void {
    const queue = new Int32Array(this.#size);
    let end = 1;
    for (let at = 0; at < end; at += 1) {
      const node = queue[at] ?? idle;
      this.#eachChild(node, (byte, child) => {
        this.#linkChild(node, byte, child);
        queue[end] = child;
        end += 1;
      });
    }
  }

  #linkChild(node: number, byte: number, child: number): void {
    if (node === idle) return;
    const fallback = this.#step(this.#fallback[node] ?? idle, byte);
    this.#fallback[child] = fallback;
    // A pattern that ends here is longer than any that ends in its suffix.
    if (this.#matchLength[child] !== 0) return;
    this.#matchLength[child] = this.#matchLength[fallback] ?? 0;
    this.#matchOwner[child] = this.#matchOwner[fallback] ?? 0;
  }

  #eachChild(node: number, visit: (byte: number, child: number) => void): void {
    const chained = this.#chain[node] ?? none;
    if (chained !== none) visit(chained, node + 1);
    if (this.#rowOf[node] === 0) return;
    this.#row(node).forEach((child, byte) => {
      if (child !== none) visit(byte, child);
    });
  }
}

function createRow(): Int32Array {
  return new Int32Array(256).fill(none);
}
