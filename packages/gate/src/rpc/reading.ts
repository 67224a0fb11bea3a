/** Of a stream, what reading it takes. */
interface Pausable {
  pause(): unknown;
  resume(): unknown;
}

/** Reads a call only while nobody holds that back: several may, each for a reason of its own. */
export class Reading {
  readonly #call: Pausable;
  #holders = 0;

  constructor(call: Pausable) {
    this.#call = call;
  }

  /** Reads no further until what this returns is called; once, what comes after does nothing. */
  hold(): () => void {
    if (this.#holders === 0) this.#call.pause();
    this.#holders += 1;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holders -= 1;
      if (this.#holders === 0) this.#call.resume();
    };
  }
}
