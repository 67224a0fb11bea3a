import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAuthority, parseHostName, parsePort } from './host-name.ts';

describe('parseHostName', () => {
  it.each([
    ['example.org', 'example.org'],
    ['Example.ORG', 'example.org'],
    ['example.org.', 'example.org'],
    ['localhost', 'localhost'],
    ['my_cache.internal', 'my_cache.internal'],
    ['1password.com', '1password.com'],
    ['0x7f.example', '0x7f.example'],
    ['a.1e3', 'a.1e3'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['ⓔxample。org', 'example.org'],
    [`${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`, undefined],
  ])('takes %s', (text, name = text) => {
    expect(parseHostName(text)).toEqual({ ok: true, name });
  });

  it.each([
    '127.0.0.1',
    '127.0.0.1.',
    '2130706433',
    '017700000001',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '127.0.0.0x1',
    '0x',
    'example.1',
    '[::1]',
    '::1',
    '[::ffff:127.0.0.1]',
    '::ffff:7f00:1',
    'fe80::1%eth0',
    '１２７.０.０.１',
    '１２７。０。０。１',
    '①②⑦.0.0.1',
  ])('knows that %s is an address', (text) => {
    expect(parseHostName(text)).toEqual({ ok: false, problem: 'ip_literal' });
  });

  it.each([
    ['nothing', ''],
    ['only a dot', '.'],
    ['two dots at the end', 'example.org..'],
    ['an empty label', 'a..example.org'],
    ['a dot in front', '.example.org'],
    ['a user', 'allowed.com@evil.com'],
    ['a percent sign', 'example%2eorg'],
    ['a percent sign beside other letters', 'b%2eücher.example'],
    ['a slash beside other letters', 'bücher.example/a'],
    ['NUL', 'example.org\0.evil.test'],
    ['a space', 'example.org evil.test'],
    ['a line end', 'example.org\r\n'],
    ['a star', '*.example.org'],
    ['a backslash', 'example.org\\evil.test'],
    ['a label of 64', `${'a'.repeat(64)}.org`],
    ['a label that ends in a dash', 'a-.example.org'],
    ['a name of 254', `${'a.'.repeat(126)}aa`],
    ['digits of other scripts', '٣.٤'],
    ['very much', 'ü'.repeat(100_000)],
  ])('refuses %s', (_, text) => {
    expect(parseHostName(text)).toEqual({ ok: false, problem: 'bad_name' });
  });

  it('gives only names that it takes again as they are, and no addresses', () => {
    const text = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV4Extended(),
      fc.ipV6(),
      fc.webAuthority({ withIPv4Extended: true, withIPv6: true, withUserInfo: true }),
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({
        unit: fc.constantFrom('a', '1', '0x', '.', '-', '_', 'ü', '。', '１', '%'),
        maxLength: 12,
      }),
    );
    fc.assert(
      fc.property(text, (input) => {
        const read = parseHostName(input);
        if (!read.ok) return;
        expect(read.name).toMatch(/^[a-z0-9_.-]{1,253}$/);
        expect(isIP(read.name)).toBe(0);
        // What a URL's parser reads as an address, or as another name, is not ours to pass on.
        expect(URL.parse(`http://${read.name}/`)?.hostname ?? read.name).toBe(read.name);
        expect(parseHostName(read.name)).toEqual(read);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no IPv4 address in any spelling', () => {
    fc.assert(
      fc.property(fc.ipV4Extended(), (address) => {
        expect(parseHostName(address)).toEqual({ ok: false, problem: 'ip_literal' });
      }),
    );
  });
});

describe('parseAuthority', () => {
  it('reads a name and a port', () => {
    expect(parseAuthority('Example.org.:8443')).toEqual({ ok: true, name: 'example.org', port: 8443 });
    expect(parseAuthority('example.org', 80)).toEqual({ ok: true, name: 'example.org', port: 80 });
  });

  it.each([
    ['example.org', 'bad_port'],
    ['example.org:', 'bad_port'],
    ['example.org:0', 'bad_port'],
    ['example.org:0443', 'bad_port'],
    ['example.org:65536', 'bad_port'],
    ['example.org:http', 'bad_port'],
    ['user@example.org:80', 'bad_name'],
    ['example.org:80@evil.test:80', 'bad_name'],
    ['[::1]:80', 'ip_literal'],
    ['[fe80::1%25eth0]:80', 'ip_literal'],
    ['::1:80', 'ip_literal'],
    ['127.1:80', 'ip_literal'],
    [':80', 'bad_name'],
  ])('refuses %s', (text, problem) => {
    expect(parseAuthority(text)).toEqual({ ok: false, problem });
  });
});

describe('parsePort', () => {
  it('takes 1 to 65535, written in one way', () => {
    expect(['1', '65535'].map(parsePort)).toEqual([1, 65_535]);
    for (const text of ['0', '', '+1', '01', ' 1', '1e3', '65536', '100000', '１']) {
      expect(parsePort(text)).toBeUndefined();
    }
  });
});
