/** As far as a host's clock may be from this gate's, either way: its tickets are then written in its own time. */
const toleratedSkewMs = 60_000;

// What was under way for long looks like a clock that is late: of the last few, the earliest arrival is nearest the truth.
const samplesKept = 4;

/** How far a host's clock is ahead of this gate's, by what it says of its time; negative where it is behind. */
export class Skew {
  readonly #samples: number[] = [];

  /**
   * A message of the host has come.
   * @param sentAt by the host's clock. Absent: a release that does not tell, which is taken to be right
   */
  heard(sentAt: Date | undefined, receivedAt: Date): void {
    if (sentAt === undefined) return;
    this.#samples.push(sentAt.getTime() - receivedAt.getTime());
    if (this.#samples.length > samplesKept) this.#samples.shift();
  }

  /** Milliseconds. 0 where nothing was said. */
  get ms(): number {
    return this.#samples.length === 0 ? 0 : Math.max(...this.#samples);
  }

  /** Too far: a ticket in its time would be one in nobody's. */
  get isTooFar(): boolean {
    return Math.abs(this.ms) > toleratedSkewMs;
  }

  /** For people: `12 s ahead of`, `301 s behind`. */
  toString(): string {
    const seconds = Math.round(Math.abs(this.ms) / 1000);
    return `${seconds} s ${this.ms < 0 ? 'behind' : 'ahead of'}`;
  }
}
