import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Automaton, type Pattern } from './automaton.ts';
import { createOutputMask, type OutputMask } from './output-mask.ts';
import { cut, pushAll, replaceAtOnce } from './testing-mask.ts';

const replacements = ['<0>', '<1>', '<2>', '<3>', '<4>', '<5>'].map((text) => Buffer.from(text));

function toPatterns(texts: readonly string[]): Pattern[] {
  return texts.map((text, owner) => ({ bytes: Buffer.from(text, 'latin1'), owner }));
}

function open(...texts: readonly string[]): OutputMask {
  return createOutputMask(new Automaton(toPatterns(texts)), replacements);
}

function mask(text: string, ...patterns: readonly string[]): string {
  return pushAll(open(...patterns), [Buffer.from(text)]).toString();
}

describe('an output mask', () => {
  it('replaces each match, also at the ends and one after the other', () => {
    expect(mask('abcd-abcd', 'abcd')).toBe('<0>-<0>');
    expect(mask('abcdabcd', 'abcd')).toBe('<0><0>');
    expect(mask('abcdefgh', 'abcd', 'efgh')).toBe('<0><1>');
    expect(mask('', 'abcd')).toBe('');
  });

  it('takes the longest match', () => {
    expect(mask('password1', 'pass', 'password')).toBe('<1>1');
    expect(mask('passwore', 'pass', 'password')).toBe('<0>wore');
    expect(mask('xpasswordx', 'word', 'password', 'sswo')).toBe('x<1>x');
  });

  it('leaves nothing of matches that overlap', () => {
    expect(mask('-abcdefgh-', 'abcde', 'defgh')).toBe('-<0>-');
    expect(mask('-abcdefgh-', 'abcd', 'defgh')).toBe('-<1>-');
    expect(mask('-ababa-', 'aba')).toBe('-<0>-');
    expect(mask('aaaaaaaa', 'aaaa')).toBe('<0>');
  });

  it('names the first of two that are the same', () => {
    expect(mask('abcd', 'abcd', 'abcd')).toBe('<0>');
  });

  it('finds what begins in the middle of something else', () => {
    expect(mask('aabaac', 'aac')).toBe('aab<0>');
    expect(mask('abcabcabd', 'abcabd', 'bcab')).toBe('a<0>');
  });

  it('passes on at once what cannot become a match', () => {
    const subject = open('token');
    expect(subject.push(Buffer.from('plain text')).toString()).toBe('plain tex');
    expect(subject.push(Buffer.from(' to')).toString()).toBe('t ');
    expect(subject.push(Buffer.from('y\n')).toString()).toBe('toy\n');
    expect(subject.push(Buffer.from('a token\n')).toString()).toBe('a <0>\n');
    expect(subject.push(Buffer.from('tok')).toString()).toBe('');
    expect(subject.push(Buffer.from('en')).toString()).toBe('<0>');
    expect(subject.end()).toHaveLength(0);
  });

  it('holds a match back while it may become a longer one', () => {
    const subject = open('pass', 'password');
    expect(subject.push(Buffer.from('pass'))).toHaveLength(0);
    expect(subject.push(Buffer.from('wor'))).toHaveLength(0);
    expect(subject.push(Buffer.from('k')).toString()).toBe('<0>work');
    expect(subject.push(Buffer.from('passw'))).toHaveLength(0);
    expect(subject.end().toString()).toBe('<0>w');
  });

  it('gives at the end what it held back, and begins anew', () => {
    const subject = open('token');
    expect(subject.push(Buffer.from('tok'))).toHaveLength(0);
    expect(subject.end().toString()).toBe('tok');
    expect(subject.push(Buffer.from('en')).toString()).toBe('en');
  });

  it('knows nothing of another stream', () => {
    const automaton = new Automaton(toPatterns(['token']));
    const [one, other] = [
      createOutputMask(automaton, replacements),
      createOutputMask(automaton, replacements),
    ];
    expect(one.push(Buffer.from('tok'))).toHaveLength(0);
    expect(other.push(Buffer.from('en')).toString()).toBe('en');
    expect(one.push(Buffer.from('en')).toString()).toBe('<0>');
  });

  it('gives buffers of its own', () => {
    const subject = open('token');
    const chunk = Buffer.from('some text. t');
    const given = subject.push(chunk);
    chunk.fill(0);
    expect(given.toString()).toBe('some text. ');
    expect(subject.push(Buffer.from('oken')).toString()).toBe('<0>');
  });

  it('changes nothing where there is nothing to find', () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256));
    expect(pushAll(open(), cut(bytes, [7, 100]))).toEqual(bytes);
    expect(pushAll(open('token'), cut(bytes, [7, 100]))).toEqual(bytes);
  });

  it('gives the same however the text is cut, as all of it at once', () => {
    // So few letters that most patterns are parts of each other, and most texts full of them.
    const letters = fc.constantFrom(...'aaabbc');
    const words = fc.string({ unit: letters, minLength: 2, maxLength: 9 });
    const patterns = fc.array(words, { minLength: 1, maxLength: replacements.length });
    const text = fc.string({ unit: fc.constantFrom(...'aaaabbbbcx'), maxLength: 60 });
    const places = fc.array(fc.nat(60), { maxLength: 30 });
    fc.assert(
      fc.property(patterns, text, places, (texts, output, cuts) => {
        const bytes = Buffer.from(output);
        const chunks = cut(
          bytes,
          cuts.map((place) => Math.min(place, bytes.length)),
        );
        const expected = replaceAtOnce(bytes, toPatterns(texts), replacements);
        expect(pushAll(open(...texts), chunks).toString()).toBe(expected.toString());
      }),
      { numRuns: 3000 },
    );
  });

  it('holds back no more than what a pattern begins with', () => {
    const words = fc.string({ unit: fc.constantFrom(...'aaabbc'), minLength: 2, maxLength: 9 });
    const text = fc.string({ unit: fc.constantFrom(...'aaaabbbbcx'), maxLength: 40 });
    fc.assert(
      fc.property(fc.array(words, { minLength: 1, maxLength: 4 }), text, (texts, output) => {
        fc.pre(!texts.some((word) => output.includes(word)));
        const ends = Array.from({ length: output.length }, (_, index) => output.slice(index));
        const held = ends.find((end) => texts.some((word) => word.startsWith(end))) ?? '';
        const subject = open(...texts);
        expect(subject.push(Buffer.from(output)).toString()).toBe(
          output.slice(0, output.length - held.length),
        );
        expect(subject.end().toString()).toBe(held);
      }),
      { numRuns: 2000 },
    );
  });
});
