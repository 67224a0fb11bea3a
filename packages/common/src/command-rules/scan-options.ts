import { findLong, type Grammar, isListed, type Takes, takesOfLetter } from './grammar.ts';
import type { Word } from './look.ts';

/** An option as it was read. */
export interface Option {
  /** In full, with its dashes: `-c`, `--eval`. */
  readonly name: string;
  /** Absent where it has none. */
  readonly value?: Word;
  readonly word: Word;
}

/** What may be read of the words of a program. */
export interface Scan {
  /** Every option that may be meant. */
  readonly options: readonly Option[];
  /** Where the operands may begin: indexes of the words, their number where there are none. Empty after a last option. */
  readonly operands: readonly number[];
  /** The options that the grammar does not list. */
  readonly unlisted: readonly Option[];
  /** A word from input where an option may stand. */
  readonly open?: Word;
}

/**
 * Reads the options of a program; the first word is its name. Where they can be read in two ways, both count: what
 * looks for code must find it in either. Linear in the number of words.
 */
export function scanOptions(words: readonly Word[], grammar: Grammar): Scan {
  const scanner = new Scanner(words, grammar);
  // A set gives what is added while it is walked, and each place once.
  const places = new Set([1]);
  for (const place of places) for (const next of scanner.read(place)) places.add(next);
  return scanner;
}

class Scanner implements Scan {
  readonly options: Option[] = [];
  readonly operands: number[] = [];
  readonly unlisted: Option[] = [];
  open?: Word;
  readonly #words: readonly Word[];
  readonly #grammar: Grammar;

  constructor(words: readonly Word[], grammar: Grammar) {
    this.#words = words;
    this.#grammar = grammar;
  }

  /** Reads the word at a place; gives the places where the options may go on. */
  read(place: number): number[] {
    const word = this.#words[place];
    if (word === undefined) return this.#endAt(this.#words.length);
    if (word.unknown) {
      this.open ??= word;
      return this.#endAt(place);
    }
    return this.#readWord(word, place);
  }

  #readWord(word: Word, place: number): number[] {
    const { text } = word;
    const { dash, numeric, plus, permutes } = this.#grammar;
    if (text === '--') return this.#endAt(place + 1);
    if (text === '-' && dash === 'flag') return [place + 1];
    if (text === '-' && dash === 'end') return this.#endAt(place + 1);
    if (numeric && /^--?\+?\d+$/.test(text)) return [place + 1];
    if (this.#isLong(text)) return this.#readLong(word, place);
    if (text.length > 1 && (text[0] === '-' || (plus && text[0] === '+')))
      return this.#readLetters(word, place);
    this.#endAt(place);
    return permutes ? [place + 1] : [];
  }

  #endAt(place: number): [] {
    this.operands.push(place);
    return [];
  }

  #isLong(text: string): boolean {
    if (text.startsWith('--')) return true;
    if (!this.#grammar.singleDash || !text.startsWith('-')) return false;
    // getopt_long_only(3), and npm's nopt: a letter that is listed is no abbreviation.
    if (text.length === 2 && takesOfLetter(this.#grammar, text[1] ?? '') !== undefined) return false;
    return findLong(this.#grammar, splitLong(text).name).length > 0;
  }

  #readLong(word: Word, place: number): number[] {
    const { name, value } = splitLong(word.text);
    const attached = value === undefined ? {} : { value: { ...word, text: value } };
    const found = findLong(this.#grammar, name);
    if (found.length > 0)
      return found.flatMap((it) => this.#take(`--${it.name}`, it.takes, word, place, attached));
    const option = { name: `--${name}`, word, ...attached };
    this.options.push(option);
    this.unlisted.push(option);
    return value === undefined ? this.#afterUnlisted(place) : [place + 1];
  }

  #readLetters(word: Word, place: number): number[] {
    const places: number[] = [];
    const flags = new Set<string>();
    // A letter may have taken the next word while those after it still count.
    let last = place;
    for (let at = 1; at < word.text.length; at += 1) {
      const letter = word.text[at] ?? '';
      const name = `-${letter}`;
      const rest = word.text.slice(at + 1);
      const attached = rest === '' ? {} : { value: { ...word, text: rest } };
      const takes = takesOfLetter(this.#grammar, letter);
      if (takes === 'value' || takes === 'attached')
        return [...places, ...this.#take(name, takes, word, last, attached)];
      if (takes === 'next word' && last < this.#words.length) {
        places.push(place + 1, ...this.#take(name, 'value', word, last, attached));
        last += 1;
      }
      // Once a word, however often it stands there.
      if (!flags.has(letter)) this.#noteFlag(name, word, takes);
      flags.add(letter);
      at += this.#grammar.attached?.[letter]?.exec(rest)?.[0].length ?? 0;
      if (isListed(name, this.#grammar.last)) return places;
      if (takes === undefined && at + 1 >= word.text.length) return [...places, ...this.#afterUnlisted(last)];
    }
    return [...places, this.#within(last + 1)];
  }

  #noteFlag(name: string, word: Word, takes: Takes | undefined): void {
    this.options.push({ name, word });
    if (takes === undefined) this.unlisted.push({ name, word });
  }

  #take(
    name: string,
    takes: Takes,
    word: Word,
    place: number,
    attached: { readonly value?: Word },
  ): number[] {
    const next = takes === 'value' && attached.value === undefined;
    const value = next ? this.#words[place + 1] : attached.value;
    this.options.push({ name, word, ...(value === undefined ? {} : { value }) });
    if (isListed(name, this.#grammar.last)) return [];
    return [this.#within(place + (next ? 2 : 1))];
  }

  #afterUnlisted(place: number): number[] {
    const flag = this.#within(place + 1);
    return this.#grammar.unlisted === 'flag' ? [flag] : [flag, this.#within(place + 2)];
  }

  #within(place: number): number {
    return Math.min(place, this.#words.length);
  }
}

function splitLong(text: string): { readonly name: string; readonly value?: string } {
  const bare = text.replace(/^--?/, '');
  const at = bare.indexOf('=');
  return at < 0 ? { name: bare } : { name: bare.slice(0, at), value: bare.slice(at + 1) };
}
