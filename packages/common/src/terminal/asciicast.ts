/** The first line of a recording, as far as this project writes and reads it. */
export interface CastHeader {
  readonly columns: number;
  readonly rows: number;
  /** TERM. Absent: not said. */
  readonly type?: string;
  /** When it began. Absent: not said. */
  readonly at?: Date;
  readonly title?: string;
}

/** One event of a recording: output, input, another size, a marker, the exit, or what a later version knows. */
export interface CastEvent {
  /** Seconds since the event before it. */
  readonly interval: number;
  readonly code: string;
  readonly data: string;
}

/**
 * Writes asciicast v3 (https://docs.asciinema.org/manual/asciicast/v3), one line an event. A character whose bytes come in
 * two chunks is in the later one's event; bytes that are no UTF-8 are U+FFFD, as JSON cannot hold them.
 */
export class AsciicastWriter {
  readonly #nowMs: () => number;
  readonly #output = new TextDecoder('utf-8', { ignoreBOM: true });
  readonly #input = new TextDecoder('utf-8', { ignoreBOM: true });
  // Of the event before, in whole milliseconds: what is rounded must not add up.
  #at: number;

  /** @param nowMs milliseconds of a clock that never jumps */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#at = Math.round(nowMs());
  }

  header({ columns, rows, type, at, title }: CastHeader): string {
    const term = { cols: columns, rows, ...(type === undefined ? {} : { type }) };
    const timestamp = at === undefined ? {} : { timestamp: Math.floor(at.getTime() / 1000) };
    return `${JSON.stringify({ version: 3, term, ...timestamp, ...(title === undefined ? {} : { title }) })}\n`;
  }

  /** Empty where no character is whole yet. */
  output(bytes: Uint8Array): string {
    return this.#text('o', this.#output.decode(bytes, { stream: true }));
  }

  input(bytes: Uint8Array): string {
    return this.#text('i', this.#input.decode(bytes, { stream: true }));
  }

  resize(columns: number, rows: number): string {
    return this.#event('r', `${columns}x${rows}`);
  }

  /** A marker, which players show and stop at where they are told to. */
  marker(label: string): string {
    return this.#event('m', label);
  }

  /** Its end, with what was left of a character before it. */
  exit(code: number): string {
    return this.#text('o', this.#output.decode()) + this.#event('x', `${code}`);
  }

  #text(code: string, text: string): string {
    return text === '' ? '' : this.#event(code, text);
  }

  #event(code: string, data: string): string {
    const at = Math.max(this.#at, Math.round(this.#nowMs()));
    const interval = (at - this.#at) / 1000;
    this.#at = at;
    return `${JSON.stringify([interval, code, data])}\n`;
  }
}

/** A recording up to its last whole line, and a marker that says that it is cut there, and why. */
export function cutRecording(bytes: Buffer, why: string): Buffer {
  const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
  return Buffer.concat([whole, Buffer.from(`${JSON.stringify([0, 'm', why])}\n`)]);
}

/** Reads the first line of an asciicast v3; undefined where it is none. */
export function parseCastHeader(line: string): CastHeader | undefined {
  const value = parseJson(line);
  if (!isObject(value) || value['version'] !== 3 || !isObject(value['term'])) return undefined;
  const { cols, rows, type } = value['term'];
  if (!isSide(cols) || !isSide(rows)) return undefined;
  const { timestamp, title } = value;
  return {
    columns: cols,
    rows,
    ...(typeof type === 'string' ? { type } : {}),
    ...(typeof timestamp === 'number' ? { at: new Date(timestamp * 1000) } : {}),
    ...(typeof title === 'string' ? { title } : {}),
  };
}

/** Reads a line after the first; undefined for a comment, an empty line, and what is no event. */
export function parseCastEvent(line: string): CastEvent | undefined {
  if (line === '' || line.startsWith('#')) return undefined;
  const value = parseJson(line);
  if (!Array.isArray(value)) return undefined;
  const [interval, code, data]: unknown[] = value;
  if (
    typeof interval !== 'number' ||
    !(interval >= 0) ||
    typeof code !== 'string' ||
    typeof data !== 'string'
  )
    return undefined;
  return { interval, code, data };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSide(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
}
