import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AddressClass,
  classifyAddress,
  createRangeTest,
  parseAuthority,
  parseHostName,
  parsePort,
} from './names-and-addresses.ts';

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
      { numRuns: 1000 },
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

const expected: Readonly<Record<AddressClass, readonly string[]>> = {
  public: [
    '1.1.1.1',
    '11.0.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '169.253.255.255',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450:4001::1',
    '2001:4860:4860::8888',
    '64:ff9b::808:808',
    '64:ff9b::8.8.8.8',
  ],
  metadata: [
    '169.254.169.254',
    '169.254.170.2',
    '168.63.129.16',
    '100.100.100.200',
    '192.0.0.192',
    'fd00:ec2::254',
    'FD00:0EC2:0:0:0:0:0:254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
  ],
  loopback: ['127.0.0.1', '127.255.255.255', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1'],
  unspecified: ['0.0.0.0', '0.255.255.255', '::', '::ffff:0.0.0.0', '64:ff9b::', '64:ff9b::a'],
  link_local: ['169.254.0.1', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
  private: [
    '10.0.0.0',
    '10.255.255.255',
    '172.16.0.0',
    '172.31.255.255',
    '192.168.1.1',
    'fc00::1',
    'fdff::1',
    'fec0::1',
    '::ffff:10.0.0.1',
    '64:ff9b::10.0.0.1',
  ],
  shared: ['100.64.0.0', '100.127.255.255'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  broadcast: ['255.255.255.255'],
  reserved: [
    '192.0.2.1',
    '198.51.100.1',
    '203.0.113.1',
    '198.18.0.1',
    '192.88.99.1',
    '240.0.0.1',
    '2001:db8::1',
    '2001:20::1',
    '100::1',
    '3fff::1',
    '4000::1',
    'e000::1',
    'no address',
    '',
    '127.1',
  ],
  translated: [
    '::ffff:8.8.8.8',
    '::8.8.8.8',
    '::127.0.0.1',
    '2002:7f00:1::1',
    '2001:0:7f00:1::1',
    '64:ff9b:1::a00:1',
    '::ffff:0:127.0.0.1',
  ],
};

describe('classifyAddress', () => {
  it.each(
    Object.entries(expected).flatMap(([kind, addresses]) => addresses.map((address) => [address, kind])),
  )('%s is %s', (address, kind) => {
    expect(classifyAddress(address)).toBe(kind);
  });

  it('never calls an address public that the kernel keeps to itself or to its network', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const inner = fc.constantFrom('127', '10', '192.168', '169.254', '0');
    fc.assert(
      fc.property(inner, octet, octet, octet, (start, a, b, c) => {
        const address = [...start.split('.'), a, b, c].slice(0, 4).join('.');
        for (const form of [address, `::ffff:${address}`, `::${address}`, `64:ff9b::${address}`]) {
          expect(classifyAddress(form)).not.toBe('public');
        }
      }),
    );
  });

  it('agrees with arithmetic on what is RFC 1918', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [a = 0, b = 0] = address.split('.').map(Number);
        const isPrivate = a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
        expect(classifyAddress(address) === 'private').toBe(isPrivate);
      }),
    );
  });
});

describe('createRangeTest', () => {
  it('holds addresses and blocks of both kinds', () => {
    const isWithin = createRangeTest(['10.1.2.3', '192.168.0.0/16', 'fd00::/8', '::1']);
    expect(['10.1.2.3', '192.168.255.255', 'fd12::1', '::1', 'fd12::1%eth0'].map(isWithin)).not.toContain(
      false,
    );
    expect(['10.1.2.4', '192.169.0.0', 'fe00::1', '::2', '::ffff:10.1.2.3', 'x'].map(isWithin)).not.toContain(
      true,
    );
  });

  it('does not take everything of one kind for anything of the other', () => {
    expect(createRangeTest(['::/0'])('10.0.0.1')).toBe(false);
    expect(createRangeTest(['0.0.0.0/0'])('::1')).toBe(false);
    expect(createRangeTest(['0.0.0.0/0'])('10.0.0.1')).toBe(true);
  });
});
