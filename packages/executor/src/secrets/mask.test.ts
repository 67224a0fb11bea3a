import { execFileSync } from 'node:child_process';
import { cut, pushAll, replaceAtOnce } from '@csc-fleet/test-kit/secrets/mask';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Automaton, type Pattern } from './automaton.ts';
import { secretForms } from './forms.ts';
import { checkMaskable, createMask, createOutputMask, type OutputMask } from './mask.ts';

describe('mask', () => {
  function mask(text: string | Buffer, secrets: Readonly<Record<string, string | Buffer>>): string {
    const values = new Map(Object.entries(secrets).map(([name, value]) => [name, Buffer.from(value)]));
    return pushAll(createMask(values).stream(), [Buffer.from(text)]).toString();
  }

  const token = 'p@ss wörd/+"\'<42>';
  const tokenBytes = Buffer.from(token);
  const base64 = (text: string): string => Buffer.from(text).toString('base64');

  describe('a value', () => {
    it.each([
      ['as it is', token],
      ['in base64', base64(token)],
      ['in base64 without padding', base64(token).replace(/=+$/, '')],
      ['in base64 for URLs', tokenBytes.toString('base64url')],
      ['in base64 with a newline', base64(`${token}\n`)],
      ['in hexadecimal', tokenBytes.toString('hex')],
      ['in capital hexadecimal', tokenBytes.toString('hex').toUpperCase()],
      ['as encodeURIComponent writes it', encodeURIComponent(token)],
      ['as encodeURI writes it', encodeURI(token).replaceAll('%5B', '[')],
      ['as a form writes it', new URLSearchParams({ '': token }).toString().slice(1)],
      ['as curl writes it', 'p%40ss%20w%C3%B6rd%2F%2B%22%27%3C42%3E'],
      ['as curl might write it', 'p%40ss%20w%c3%b6rd%2f%2b%22%27%3c42%3e'],
      ["as Python's quote writes it", 'p%40ss%20w%C3%B6rd/%2B%22%27%3C42%3E'],
      ['with each byte as percent', tokenBytes.toString('hex').replaceAll(/../g, '%$&')],
      ['as JSON', JSON.stringify(token).slice(1, -1)],
      ['as ASCII JSON', JSON.stringify(token).slice(1, -1).replace('ö', '\\u00f6')],
      ['as PHP writes JSON', JSON.stringify(token).slice(1, -1).replace('ö', '\\u00f6').replace('/', '\\/')],
      [
        'as Go writes JSON',
        JSON.stringify(token).slice(1, -1).replace('<', '\\u003c').replace('>', '\\u003e'),
      ],
    ])('is found %s, however it is split', (_, form) => {
      const stream = createMask(new Map([['token', tokenBytes]]));
      const text = Buffer.from(`(${form})\n`);
      const places = Array.from({ length: text.length + 1 }, (_unused, place) => place);
      const masked = pushAll(stream.stream(), [text]).toString();
      // What base64 is padded with is no part of the value.
      expect(masked).toMatch(/^\(\[secret:token\]={0,2}\)\n$/);
      for (const place of places) {
        expect(pushAll(stream.stream(), cut(text, [place])).toString()).toBe(masked);
        for (const other of places.slice(place)) {
          expect(pushAll(stream.stream(), cut(text, [place, other])).toString()).toBe(masked);
        }
      }
    });

    it.each([
      ['single quotes', "it's 4 o'clock", "it'\\''s 4 o'\\''clock"],
      ['quotes of quotes', "it's 4 o'clock", `it'"'"'s 4 o'"'"'clock`],
      ['backslashes', "it's $4 & more", "it\\'s\\ \\$4\\ \\&\\ more"],
    ])("is found in a shell's %s", (_, value, form) => {
      expect(mask(`+ echo '${form}'`, { v: value })).toBe("+ echo '[secret:v]'");
    });

    it('is found as bash quotes it', () => {
      const value = 'a b\'c$d"e\\f&g;h|i*j?k(l)m<n>o#p!q{r}s[t]u^v~w`x';
      const quoted = execFileSync('bash', ['-c', 'printf %q "$1"', 'bash', value]).toString();
      expect(quoted).not.toBe(value);
      expect(mask(`${quoted}\n`, { v: value })).toBe('[secret:v]\n');
    });

    it('is found with and without newlines at its end, which stay', () => {
      expect(mask('abcdefgh|abcdefgh\n|', { v: 'abcdefgh\n' })).toBe('[secret:v]|[secret:v]\n|');
      expect(mask('abcdefgh\r\n', { v: 'abcdefgh\r\n' })).toBe('[secret:v]\r\n');
    });

    it('is found among bytes that are no text', () => {
      const value = Buffer.from([0, 255, 254, 0, 10, 195, 40, 0]);
      const text = Buffer.concat([Buffer.from([195]), value, Buffer.from([0, 255])]);
      const masked = pushAll(createMask(new Map([['v', value]])).stream(), cut(text, [3, 5]));
      expect(masked).toEqual(
        Buffer.concat([Buffer.from([195]), Buffer.from('[secret:v]'), Buffer.from([0, 255])]),
      );
    });

    it('of four bytes is found in base64 as an encoder writes it', () => {
      expect(mask(`${base64('abcd')} ${base64('abcd\n')}`, { v: 'abcd' })).toBe('[secret:v] [secret:v]');
    });
  });

  describe('a value inside what was encoded in base64', () => {
    const value = 'hunter2-hunter2!';
    const wholes = [0, 1, 2, 3, 4, 5].flatMap((before) =>
      [0, 1, 2].map((after) => ['U~\xff'.repeat(2).slice(0, before), '?\x80>'.slice(0, after)] as const),
    );

    it.each(wholes)('between %j and %j leaves no bit', (before, after) => {
      const whole = Buffer.concat([
        Buffer.from(before, 'latin1'),
        Buffer.from(value),
        Buffer.from(after, 'latin1'),
      ]);
      for (const encoding of ['base64', 'base64url'] as const) {
        const masked = mask(whole.toString(encoding), { v: value });
        expect(masked).toContain('[secret:v]');
        // The characters that are left stand for bytes outside of the value only.
        const [head = '', tail = ''] = masked.split('[secret:v]');
        const chars = (bytes: number): number => Math.ceil((bytes * 8) / 6);
        expect(head).toHaveLength(Math.floor((before.length * 8) / 6));
        expect(tail.replace(/=+$/, '')).toHaveLength(
          chars(whole.length) - chars(before.length + value.length),
        );
      }
    });

    it.each([
      [57, 1],
      [58, 2],
      [60, 2],
      [114, 2],
      [115, 3],
      [200, 4],
      [1000, 18],
    ])('of %d bytes is found line by line as base64 writes it', (length, lines) => {
      const long = Buffer.from(Array.from({ length }, (_, index) => (index * 37 + (index >> 3)) % 256));
      const text = execFileSync('base64', { input: long });
      expect(text.toString().split('\n')).toHaveLength(lines + 1);
      const masked = pushAll(createMask(new Map([['v', long]])).stream(), cut(text, [1, 70, 75]));
      expect(masked.toString().replaceAll(/\[secret:v\]=*\n?/g, '')).toBe('');
      const columns = Buffer.from(long.toString('base64').replaceAll(/.{64}/g, '$&\n'));
      const rest = pushAll(createMask(new Map([['v', long]])).stream(), [columns]).toString();
      expect(rest.replaceAll(/\[secret:v\]=*\n?/g, '')).toBe('');
      expect(mask(long.toString('base64'), { v: long })).toMatch(/^\[secret:v\]=*$/);
    });
  });

  describe('a value of several lines', () => {
    const key = [
      '-----BEGIN PRIVATE KEY-----',
      'MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g',
      '  indented line',
      'short',
      '-----END PRIVATE KEY-----',
      '',
    ].join('\n');

    it('is one, where all of it is there', () => {
      expect(mask(`<${key}>`, { key })).toBe('<[secret:key]\n>');
      expect(mask(JSON.stringify({ key }), { key })).toBe('{"key":"[secret:key]\\n"}');
    });

    it('is found by each longer line, in any order and with any line ending', () => {
      const [begin = '', body = '', indented = '', short = '', end = ''] = key.split('\n');
      const text = [indented.trim(), short, body].join('\r\n');
      expect(mask(text, { key })).toBe('[secret:key]\r\nshort\r\n[secret:key]');
      expect(mask(`${begin}\n${end}`, { key })).toBe(`${begin}\n${end}`);
    });

    it('in CRLF is found by its lines', () => {
      expect(mask('first line\nother\n', { v: 'first line\r\nsecond line\r\n' })).toBe('[secret:v]\nother\n');
    });
  });

  describe('several values', () => {
    it('are told apart where one begins with another', () => {
      const secrets = { short: 'pass', long: 'password' };
      expect(mask('password pass passworld', secrets)).toBe(
        '[secret:long] [secret:short] [secret:short]world',
      );
    });

    it('may overlap, repeat and adjoin', () => {
      const secrets = { one: 'abcdef', two: 'defghijk' };
      expect(mask('-abcdefghijk-', secrets)).toBe('-[secret:two]-');
      expect(mask('abcdefabcdef|abcdefdefghijk', secrets)).toBe(
        '[secret:one][secret:one]|[secret:one][secret:two]',
      );
    });
  });

  it('leaves other text alone', () => {
    const text = 'abcdefg bcdefgh ABCDEFGH abcd efgh YWJjZGVm 6162 %61%62\n';
    expect(mask(text, { v: 'abcdefgh' })).toBe(text);
    expect(mask(text, {})).toBe(text);
  });

  it('says nothing of the length', () => {
    const one = mask('abcd', { v: 'abcd' });
    expect(mask('x'.repeat(5000), { v: 'x'.repeat(5000) })).toBe(one);
  });

  describe('checkMaskable', () => {
    const check = (value: string) => () => checkMaskable('pin', Buffer.from(value));

    it.each(['', 'abc', 'abc\n\n', '\r\n\r\n\r\n'])('refuses %j, without a word of it', (value) => {
      const refused = expect.objectContaining({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.not.stringContaining('abc'),
      });
      expect(check(value)).toThrowError(refused);
      expect(() => createMask(new Map([['pin', Buffer.from(value)]]))).toThrowError(refused);
    });

    it('takes four bytes', () => {
      expect(check('abcd')).not.toThrow();
      expect(check('öö')).not.toThrow();
    });
  });

  describe('any values, in any form, in any text, in any chunks', () => {
    // Not the characters of a replacement, with which it could become a value by itself.
    const letters = fc.constantFrom(...'abbcd01 \n+/%"\'\\<>&~öÿ\u0000');
    const value = fc
      .string({ unit: letters, minLength: 4, maxLength: 24 })
      .filter((text) => text.trim().length >= 4);
    const piece = fc.record({
      plain: fc.string({ unit: letters, maxLength: 8 }),
      secret: fc.nat(2),
      form: fc.nat(),
    });
    const places = fc.array(fc.nat(1000), { maxLength: 40 });

    it('are replaced as if all of the output were at hand, and are never in it', () => {
      fc.assert(
        fc.property(
          fc.array(value, { minLength: 1, maxLength: 3 }),
          fc.array(piece, { maxLength: 6 }),
          places,
          check,
        ),
        { numRuns: 250 },
      );
    });

    interface Piece {
      readonly plain: string;
      readonly secret: number;
      readonly form: number;
    }

    function check(texts: string[], pieces: Piece[], cuts: number[]): void {
      const values = texts.map((text) => Buffer.from(text));
      const forms = values.map((bytes) => secretForms(bytes));
      const output = Buffer.concat(
        pieces.flatMap(({ plain, secret, form }) => {
          const own = forms[secret % forms.length] ?? [];
          return [Buffer.from(plain), own[form % own.length] ?? Buffer.alloc(0)];
        }),
      );
      const patterns: Pattern[] = forms.flatMap((own, owner) => own.map((bytes) => ({ bytes, owner })));
      const replacements = texts.map((_, index) => Buffer.from(`[secret:${index}]`));
      const subject = createMask(new Map(values.map((bytes, index) => [String(index), bytes])));
      const chunks = cut(
        output,
        cuts.map((place) => Math.min(place, output.length)),
      );
      const masked = pushAll(subject.stream(), chunks);
      expect(masked.toString('latin1')).toBe(
        replaceAtOnce(output, patterns, replacements).toString('latin1'),
      );
      for (const bytes of forms.flat()) expect(masked.includes(bytes)).toBe(false);
    }
  });
});

describe('output mask', () => {
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
        { numRuns: 1000 },
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
        { numRuns: 800 },
      );
    });
  });
});
