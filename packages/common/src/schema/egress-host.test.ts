import { describe, expect, it } from 'vitest';
import { egressHost, egressHostEntry, egressName } from './egress-host.ts';

const accepts = (text: string): boolean => egressHost.safeParse(text).success;
const longest = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;

describe('egressHost', () => {
  it.each([
    'registry.npmjs.org',
    'registry.npmjs.org:443',
    '*.example.org',
    '*.example.org:65535',
    'github.com:tcp:22',
    '*.example.org:tcp:5432',
    'localhost',
    'Files.PythonHosted.org',
    'my_cache.internal:1',
    'xn--bcher-kva.example',
    '1password.com',
    longest,
    `*.${longest}:8443`,
    '10.0.0.1',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '::1',
    '2001:db8::/32',
  ])('takes %s', (text) => {
    expect(accepts(text)).toBe(true);
  });

  it.each([
    ['nothing', ''],
    ['everything', '*'],
    ['a port of everything', '*:443'],
    ['a star within a name', 'a.*.example.org'],
    ['a star that is part of a label', '*example.org'],
    ['two stars', '*.*.example.org'],
    ['a URL', 'https://example.org'],
    ['a path', 'example.org/a'],
    ['an empty label', 'a..example.org'],
    ['a dot at the end', 'example.org.'],
    ['a label that begins with a dash', '-a.example.org'],
    ['a label of 64', `${'a'.repeat(64)}.org`],
    ['a name of 254', `${longest}d`],
    ['port 0', 'example.org:0'],
    ['tcp without a port', 'example.org:tcp'],
    ['tcp with port 0', 'example.org:tcp:0'],
    ['tcp of an address', '10.0.0.1:tcp:22'],
    ['another protocol', 'example.org:udp:53'],
    ['port 65536', 'example.org:65536'],
    ['a port with a zero in front', 'example.org:0443'],
    ['an empty port', 'example.org:'],
    ['a name that is read as an address', '0x7f.1'],
    ['a short address', '127.1'],
    ['a decimal address', '2130706433:80'],
    ['a hexadecimal address', '0x7f000001'],
    ['an octal address', '010.0.0.1'],
    ['an address of too much', '256.0.0.1'],
    ['a port of an address', '10.0.0.1:443'],
    ['a prefix that is too long', '10.0.0.0/33'],
    ['a prefix of a name', 'example.org/8'],
    ['an IPv6 zone', 'fe80::1%eth0'],
    ['an IPv4 address within IPv6', '::ffff:10.0.0.1'],
    ['brackets', '[::1]'],
    ['other letters', 'bücher.example'],
    ['white space', ' example.org'],
    ['a line end', 'example.org\n'],
    ['a user', 'me@example.org'],
  ])('refuses %s', (_, text) => {
    expect(accepts(text)).toBe(false);
  });
});

describe('egressHostEntry', () => {
  const takes = (value: unknown): boolean => egressHostEntry.safeParse(value).success;

  it('takes text, or a name with what else is said of it', () => {
    expect(takes('10.0.0.0/8')).toBe(true);
    expect(takes({ host: '*.example.org:443', ech: 'allow' })).toBe(true);
  });

  it.each([
    { host: '10.0.0.0/8', ech: 'allow' },
    { host: 'https://example.org', ech: 'allow' },
    { host: 'example.org' },
    { host: 'example.org', ech: true },
    { host: 'example.org', ech: 'allow', more: 1 },
    { ech: 'allow' },
    ['example.org'],
    7,
  ])('refuses %j', (value) => {
    expect(takes(value)).toBe(false);
  });
});

describe('egressName', () => {
  it.each([
    ['api.stripe.com', 'api.stripe.com'],
    ['API.stripe.com:443', 'api.stripe.com'],
    ['*.stripe.com:443', '.stripe.com'],
    ['*.stripe.com:tcp:443', '.stripe.com'],
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['2001:db8::1', '2001:db8::1'],
  ])('of %s is %s', (entry, name) => {
    expect(egressName(entry)).toBe(name);
  });
});
