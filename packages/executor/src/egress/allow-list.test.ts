import { egressHost } from '@csc-fleet/common/schema';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAllowList, parseEgressEntry } from './allow-list.ts';

describe('parseEgressEntry', () => {
  it.each([
    ['Example.org.', { kind: 'name', name: 'example.org', below: false, ech: false }],
    ['example.org:8443', { kind: 'name', name: 'example.org', below: false, port: 8443, ech: false }],
    ['*.example.org', { kind: 'name', name: 'example.org', below: true, ech: false }],
    ['*.bücher.example:1', { kind: 'name', name: 'xn--bcher-kva.example', below: true, port: 1, ech: false }],
    ['a.test:tcp:22', { kind: 'name', name: 'a.test', below: false, port: 22, ech: false, tcp: true }],
    ['10.0.0.0/8', { kind: 'range', range: '10.0.0.0/8' }],
    ['10.0.0.1', { kind: 'range', range: '10.0.0.1/32' }],
    ['fd00::/8', { kind: 'range', range: 'fd00::/8' }],
    ['::1', { kind: 'range', range: '::1/128' }],
  ])('reads %s', (text, value) => {
    expect(parseEgressEntry(text)).toEqual({ ok: true, value });
  });

  it.each([
    '',
    '*',
    '*:443',
    '*.',
    '*.*.example.org',
    'a.*.example.org',
    '*example.org',
    'https://example.org',
    'example.org/a',
    'example.org:0',
    'example.org:tcp:0',
    'example.org:tcp:22:22',
    '10.0.0.1:tcp:22',
    'user@example.org',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    '10.0.0.1:443',
    '[::1]:443',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    '0x7f.1',
    '2130706433',
  ])('refuses %s', (text) => {
    expect(parseEgressEntry(text)).toMatchObject({ ok: false, faults: [{ path: '' }] });
  });

  it('takes whatever the schema of policies takes', () => {
    const part = fc.constantFrom('a', 'A9', '*.', '.', '-', '_', ':', '443', '10.0.0.1', '/8', '::1', '0x1');
    const text = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV6(),
      fc.array(part, { maxLength: 6 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (entry) => {
        fc.pre(egressHost.safeParse(entry).success);
        expect(parseEgressEntry(entry).ok).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('createAllowList', () => {
  it('lets a hello be encrypted where an entry of every list says so of that name and port', () => {
    const list = createAllowList([
      [{ host: 'a.test', ech: 'allow' }, { host: '*.b.test:8443', ech: 'allow' }, 'c.test'],
      ['a.test:80', { host: 'A.test:443', ech: 'allow' }, { host: 'x.b.test:8443', ech: 'allow' }, 'c.test'],
    ]);
    const places = [
      ['a.test', 443],
      ['a.test', 80],
      ['x.b.test', 8443],
      ['y.b.test', 8443],
      ['c.test', 443],
    ] as const;
    expect(places.map(([name, port]) => list.allowsEch(name, port))).toEqual([
      true,
      false,
      true,
      false,
      false,
    ]);
    expect(list.allows('a.test', 80)).toBe(true);
    expect(createAllowList([]).allowsEch('a.test', 443)).toBe(false);
  });

  it('takes no address that a hello could be for', () => {
    expect(() => createAllowList([[{ host: '10.0.0.0/8', ech: 'allow' }]])).toThrow('10.0.0.0/8');
  });

  const single = (...entries: string[]) => createAllowList([entries]);

  it.each([
    ['example.org', 'example.org', 443, true],
    ['example.org', 'example.org', 80, true],
    ['example.org', 'example.org', 8080, false],
    ['example.org', 'example.org', 22, false],
    ['example.org', 'www.example.org', 443, false],
    ['example.org', 'evilexample.org', 443, false],
    ['example.org', 'example.org.evil.test', 443, false],
    ['example.org', 'example.or', 443, false],
    ['example.org:8443', 'example.org', 8443, true],
    ['example.org:8443', 'example.org', 443, false],
    ['*.example.org', 'www.example.org', 443, true],
    ['*.example.org', 'a.b.c.example.org', 80, true],
    ['*.example.org', 'example.org', 443, false],
    ['*.example.org', 'evilexample.org', 443, false],
    ['*.example.org', 'www.example.org', 8080, false],
    ['*.example.org:8080', 'www.example.org', 8080, true],
    ['*.example.org:8080', 'www.example.org', 443, false],
    ['10.0.0.1', '10.0.0.1', 443, false],
    ['0.0.0.0/0', 'example.org', 443, false],
  ])('with %s, asked for %s:%i: %s', (entry, name, port, allowed) => {
    expect(single(entry).allows(name, port)).toBe(allowed);
  });

  it('allows what every list does', () => {
    const list = createAllowList([
      ['a.test', 'b.test'],
      ['b.test', 'c.test'],
    ]);
    expect(['a.test', 'b.test', 'c.test'].map((name) => list.allows(name, 443))).toEqual([
      false,
      true,
      false,
    ]);
  });

  it('allows nothing where a list is empty, or where there is none', () => {
    expect(createAllowList([['a.test'], []]).allows('a.test', 443)).toBe(false);
    expect(createAllowList([]).allows('a.test', 443)).toBe(false);
    expect(createAllowList([]).findAddressProblem('a.test', '127.0.0.1')).toBe('loopback');
  });

  it('takes other than public addresses only where every list names them', () => {
    const list = createAllowList([
      ['a.test', '10.0.0.0/8', '127.0.0.1'],
      ['a.test', '10.1.0.0/16'],
    ]);
    expect(list.findAddressProblem('a.test', '10.1.2.3')).toBeUndefined();
    expect(list.findAddressProblem('a.test', '10.2.2.3')).toBe('private');
    expect(list.findAddressProblem('a.test', '127.0.0.1')).toBe('loopback');
    expect(list.findAddressProblem('a.test', '93.184.216.34')).toBeUndefined();
  });

  it('lets localhost lead to loopback where it is named, and no other name', () => {
    const list = createAllowList([
      ['localhost:8080', 'a.test'],
      ['localhost:8080', '127.0.0.1', 'a.test'],
    ]);
    expect(list.findAddressProblem('localhost', '127.0.0.1')).toBeUndefined();
    expect(list.findAddressProblem('localhost', '::1')).toBeUndefined();
    expect(list.findAddressProblem('localhost', '10.0.0.1')).toBe('private');
    expect(list.findAddressProblem('a.test', '127.0.0.1')).toBe('loopback');
    expect(single('*.localhost').findAddressProblem('a.localhost', '127.0.0.1')).toBe('loopback');
  });

  it('names every entry that cannot be read', () => {
    const make = () => createAllowList([['a.test', 'https://b.test'], ['c.test:0']]);
    expect(make).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID', faults: [expect.anything(), expect.anything()] }),
    );
  });
});
