import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AddressClass, classifyAddress, createRangeTest } from './addresses.ts';

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
