import { type Fault, memberPath, quoteBriefly } from '../errors/index.ts';
import { isPoisonous, maxDepth, maxFaults } from './json-value.ts';
import { textPlace } from './text.ts';

/** An array's `keys` is undefined. */
interface Level {
  readonly keys: Set<string> | undefined;
  key: string;
  index: number;
}

/** What may come next. */
type Expect = 'value' | 'value or ]' | 'key' | 'key or }' | 'more';

const maxNumberLength = 64;

const char = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  openList: 0x5b,
  backslash: 0x5c,
  closeList: 0x5d,
  openObject: 0x7b,
  closeObject: 0x7d,
} as const;

const escapes: ReadonlySet<number> = new Set([...'"\\/bfnrt'].map((it) => it.charCodeAt(0)));
const literals = ['true', 'false', 'null'] as const;
const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Thrown and caught in this file: nothing after this point of the text is worth a look. */
class Stop extends Error {}

/**
 * One pass over a JSON text for what JSON.parse forgives (duplicate and poisonous keys, lone surrogates, numbers
 * that are not safe integers, depth) and, where it does not parse, for the place. Without recursion: a text of
 * a million brackets costs no stack. Empty: nothing to object to.
 */
export function scanJson(text: string): Fault[] {
  const scanner = new JsonScanner(text);
  try {
    scanner.run();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
  }
  return scanner.faults;
}

class JsonScanner {
  readonly faults: Fault[] = [];
  private readonly text: string;
  private readonly levels: Level[] = [];
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  run(): void {
    let expect: Expect | 'nothing' = 'value';
    while (expect !== 'nothing') expect = this.step(expect, this.skipSpace());
  }

  private step(expect: Expect, unit: number): Expect | 'nothing' {
    switch (expect) {
      case 'value or ]':
        return unit === char.closeList ? this.close() : this.value(unit);
      case 'value':
        return this.value(unit);
      case 'key or }':
        return unit === char.closeObject ? this.close() : this.key(unit);
      case 'key':
        return this.key(unit);
      case 'more':
        return this.more(unit);
    }
  }

  private skipSpace(): number {
    for (;;) {
      const unit = this.text.charCodeAt(this.at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return unit;
      this.at += 1;
    }
  }

  private more(unit: number): Expect | 'nothing' {
    const level = this.levels.at(-1);
    if (level === undefined) {
      if (this.at < this.text.length) this.syntax('expected the end of the text');
      return 'nothing';
    }
    const closing = level.keys === undefined ? char.closeList : char.closeObject;
    if (unit === closing) return this.close();
    if (unit !== char.comma) this.syntax(`expected "," or "${String.fromCharCode(closing)}"`);
    this.at += 1;
    if (level.keys !== undefined) return 'key';
    level.index += 1;
    return 'value';
  }

  private open(level: Level, expect: Expect): Expect {
    if (this.levels.length === maxDepth) {
      this.fault(`is nested deeper than ${maxDepth} levels`);
      throw new Stop();
    }
    this.levels.push(level);
    this.at += 1;
    return expect;
  }

  private close(): Expect {
    this.levels.pop();
    this.at += 1;
    return 'more';
  }

  private key(unit: number): Expect {
    const level = this.levels.at(-1);
    if (unit !== char.quote || level?.keys === undefined)
      this.syntax('expected a member name in double quotes');
    level.key = this.string();
    if (level.keys.has(level.key)) this.fault('is a duplicate key: say it once');
    else level.keys.add(level.key);
    if (isPoisonous(level.key)) this.fault('is a name that no member may have');
    this.checkText(level.key, 'has a name that holds');
    if (this.skipSpace() !== char.colon) this.syntax('expected ":" after the member name');
    this.at += 1;
    return 'value';
  }

  private value(unit: number): Expect {
    if (unit === char.quote) {
      this.checkText(this.string(), 'holds');
    } else if (unit === char.openObject) {
      return this.open({ keys: new Set(), key: '', index: 0 }, 'key or }');
    } else if (unit === char.openList) {
      return this.open({ keys: undefined, key: '', index: 0 }, 'value or ]');
    } else if (unit === 0x2d || (unit >= 0x30 && unit <= 0x39)) {
      this.number();
    } else {
      const literal = literals.find((it) => this.text.startsWith(it, this.at));
      if (literal === undefined) this.syntax('expected a value');
      this.at += literal.length;
    }
    return 'more';
  }

  /** From the opening quote to behind the closing one; gives the text with its escapes undone. */
  private string(): string {
    const start = this.at;
    let escaped = false;
    for (this.at += 1; ; this.at += 1) {
      const unit = this.text.charCodeAt(this.at);
      if (unit === char.quote) break;
      if (unit === char.backslash) {
        escaped = true;
        this.escape();
      } else if (!(unit >= 0x20)) {
        this.syntax(
          this.at < this.text.length ? 'a control character must be escaped' : 'expected a closing quote',
        );
      }
    }
    this.at += 1;
    if (!escaped) return this.text.slice(start + 1, this.at - 1);
    return String(JSON.parse(this.text.slice(start, this.at)));
  }

  private escape(): void {
    this.at += 1;
    const unit = this.text.charCodeAt(this.at);
    if (unit === 0x75 && /^[0-9a-fA-F]{4}$/.test(this.text.slice(this.at + 1, this.at + 5))) this.at += 4;
    else if (!escapes.has(unit)) this.syntax('expected an escape that JSON has');
  }

  // The bytes were UTF-8, so that a lone surrogate can only have come from an escape.
  private checkText(text: string, verb: string): void {
    if (!text.isWellFormed()) this.fault(`${verb} a lone surrogate, which is not text`);
  }

  private number(): void {
    const start = this.at;
    while (isNumberUnit(this.text.charCodeAt(this.at))) this.at += 1;
    const token = this.text.slice(start, this.at);
    if (token.length > maxNumberLength) {
      this.fault(`must be an integer within ±(2^53 - 1), not a number of ${token.length} characters`);
    } else if (!number.test(token)) {
      this.at = start;
      this.syntax('expected a number that JSON has');
    } else if (!isInteger(token)) {
      this.fault(`must be an integer within ±(2^53 - 1), not ${token}`);
    }
  }

  private fault(message: string): void {
    if (this.faults.length === maxFaults) {
      this.faults.push({ path: '', message: `has more faults than these ${maxFaults}` });
      throw new Stop();
    }
    const segments = this.levels.map((level) => (level.keys === undefined ? level.index : level.key));
    this.faults.push({ path: memberPath(segments), message });
  }

  private syntax(problem: string): never {
    const found = this.text.codePointAt(this.at);
    const seen = found === undefined ? 'the end of the text' : quoteBriefly(String.fromCodePoint(found));
    const message = `is not valid JSON at ${textPlace(this.text, this.at)}: ${problem}, found ${seen}`;
    this.faults.push({ path: '', message });
    throw new Stop();
  }
}

function isNumberUnit(unit: number): boolean {
  return (
    (unit >= 0x30 && unit <= 0x39) ||
    unit === 0x2e ||
    unit === 0x2d ||
    unit === 0x2b ||
    (unit | 0x20) === 0x65
  );
}

const parts = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/**
 * True where a JSON number, as written, is an integer within ±(2^53 - 1): `10`, `10.0` and `1e1` are. Judged on
 * the text, as `1e-400` and `1.00000000000000000001` would round to integers.
 */
export function isInteger(token: string): boolean {
  if (!Number.isSafeInteger(Number(token))) return false;
  const [, whole = '', fraction = '', exponent = '0'] = parts.exec(token) ?? [];
  const digits = `${whole}${fraction}`;
  const significant = digits.replace(/0+$/, '');
  const trailingZeros = digits.length - significant.length;
  return significant === '' || Number(exponent) + trailingZeros >= fraction.length;
}
