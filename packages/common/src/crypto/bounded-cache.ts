/** Keeps what was made for the keys used most recently, `capacity` of them at most. */
export class BoundedCache<V> {
  private readonly entries = new Map<string, V>();
  private readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** The value of `key`, made where there is none. What `make` throws is not kept. */
  get(key: string, make: () => V): V {
    const known = this.entries.get(key);
    const value = known ?? make();
    // A Map gives its keys in the order of insertion: the first is the one used longest ago.
    this.entries.delete(key);
    this.entries.set(key, value);
    if (this.entries.size > this.capacity) this.dropOldest();
    return value;
  }

  get size(): number {
    return this.entries.size;
  }

  private dropOldest(): void {
    const [oldest] = this.entries.keys();
    if (oldest !== undefined) this.entries.delete(oldest);
  }
}
