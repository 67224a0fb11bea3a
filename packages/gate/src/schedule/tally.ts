/** How many of something each principal has. */
export class Tally {
  readonly #principalOf = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  get size(): number {
    return this.#principalOf.size;
  }

  sizeOf(principal: string): number {
    return this.#counts.get(principal) ?? 0;
  }

  /** Counts it once, however often it is added. */
  add(principal: string, id: string): void {
    if (this.#principalOf.has(id)) return;
    this.#principalOf.set(id, principal);
    this.#counts.set(principal, this.sizeOf(principal) + 1);
  }

  /** Does nothing where it is not counted. */
  remove(id: string): void {
    const principal = this.#principalOf.get(id);
    if (principal === undefined) return;
    this.#principalOf.delete(id);
    const left = this.sizeOf(principal) - 1;
    if (left === 0) this.#counts.delete(principal);
    else this.#counts.set(principal, left);
  }
}
