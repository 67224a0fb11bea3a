import {
  cutRecord,
  type Step,
  socksConnect,
  socksHello,
  startUpstream,
  type Upstream,
} from '@csc-fleet/test-kit/egress/bench';
import { connect, get, makeHellos, play } from '@csc-fleet/test-kit/egress/play';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSocksGreeting, readSocksRequest } from './socks.ts';

describe('socks message', () => {
  describe('readSocksGreeting', () => {
    it('says whether a client goes without authentication, and where its message ends', () => {
      expect(readSocksGreeting(Buffer.from([5, 2, 2, 0, 5]))).toEqual({ anonymous: true, length: 4 });
      expect(readSocksGreeting(Buffer.from([5, 1, 2]))).toEqual({ anonymous: false, length: 3 });
    });

    it('waits for all of it, and refuses what is none', () => {
      expect([[], [5], [5, 2, 0]].map((bytes) => readSocksGreeting(Buffer.from(bytes)))).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      expect(
        [
          [4, 1],
          [5, 0],
        ].map((bytes) => readSocksGreeting(Buffer.from(bytes))),
      ).toEqual(['malformed', 'malformed']);
    });
  });

  describe('readSocksRequest', () => {
    it.each([
      ['a name', socksConnect('a.test', 443), { kind: 'name', text: 'a.test' }, 443],
      ['IPv4', Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, 0, 80]), { kind: 'ip', text: '127.0.0.1' }, 80],
      [
        'IPv6',
        Buffer.from([5, 1, 0, 4, ...new Array(15).fill(0), 1, 1, 0]),
        { kind: 'ip', text: '0000:0000:0000:0000:0000:0000:0000:0001' },
        256,
      ],
    ])('reads %s', (_, bytes, address, port) => {
      const more = Buffer.concat([bytes, Buffer.from([1, 2])]);
      expect(readSocksRequest(more)).toEqual({ command: 1, address, port, length: bytes.length });
      for (let end = 0; end < bytes.length; end += 1) {
        expect(readSocksRequest(bytes.subarray(0, end))).toBeUndefined();
      }
    });

    it.each([[[4]], [[5, 1, 1]], [[5, 1, 0, 2]], [[5, 1, 0, 0]]])('refuses %j', (bytes) => {
      expect(readSocksRequest(Buffer.from(bytes))).toBe('malformed');
    });

    it('survives anything', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          const read = readSocksRequest(Buffer.concat([Buffer.from([5, 1, 0]), bytes]));
          if (typeof read === 'object') expect(read.length).toBeLessThanOrEqual(bytes.length + 3);
        }),
      );
    });
  });
});

describe('proxy socks', () => {
  let upstream: Upstream;
  let hellos: Awaited<ReturnType<typeof makeHellos>>;

  beforeAll(async () => {
    upstream = await startUpstream(['allowed.test']);
    hellos = await makeHellos();
  });
  afterAll(() => upstream.close());

  describe('SOCKS5', () => {
    const accepted = '\x05\0\x05\0\0\x01\0\0\0\0\0\0';
    const tunnel = (port: number): Buffer => Buffer.concat([socksHello, socksConnect('allowed.test', port)]);
    const ip6 = Buffer.from([5, 1, 0, 4, ...new Array(15).fill(0), 1, 0, 80]);

    it('carries TLS, in one piece or in many', async () => {
      const pieces = await play(upstream, [
        socksHello,
        10,
        socksConnect('Allowed.Test.', 443),
        20,
        cutRecord(hellos.allowed, 99),
        150,
        'end',
      ]);
      expect(pieces).toMatchObject({ verdicts: ['socks5 allowed.test:443 ok'], reached: true });
      const whole = await play(upstream, [Buffer.concat([tunnel(443), hellos.allowed]), 'end']);
      expect(whole).toMatchObject({ verdicts: ['socks5 allowed.test:443 ok'], reached: true });
    });

    it('carries HTTP, every request of it judged', async () => {
      const outcome = await play(upstream, [
        tunnel(80),
        get('/1', 'allowed.test'),
        60,
        get('/2', 'allowed.test'),
        60,
        get('/3', 'evil.test'),
      ]);
      expect(outcome.statuses).toEqual([200, 200, 403]);
      expect(outcome.verdicts).toEqual([
        'socks5 allowed.test:80 ok',
        'socks5 allowed.test:80 ok',
        'socks5 allowed.test:80 host_mismatch',
      ]);
      expect(upstream.seen.at(-1)).toMatchObject({ url: '/2' });
    });

    it.each([
      ['a name that is not listed', socksConnect('evil.test', 80), 2, 'evil.test:80 not_listed'],
      ['another port', socksConnect('allowed.test', 22), 2, 'allowed.test:22 not_listed'],
      ['port 0', socksConnect('allowed.test', 0), 2, 'allowed.test:0 bad_port'],
      ['IPv4', Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, 0, 80]), 2, '127.0.0.1:80 ip_literal'],
      ['IPv6', ip6, 2, '0000:0000:0000:0000:0000:0000:0000:0001:80 ip_literal'],
      ['an address as a name', socksConnect('127.0.0.1', 80), 2, '127.0.0.1:80 ip_literal'],
      ['an address in full-width digits', socksConnect('１２７.０.０.１', 80), 2, '???.?.?.?:80 ip_literal'],
      ['a hexadecimal address', socksConnect('0x7f.1', 80), 2, '0x7f.1:80 ip_literal'],
      ['NUL in a name', socksConnect('evil.test\0.wild.test', 80), 2, 'evil.test?.wild.test:80 bad_name'],
      ['no name', socksConnect('', 80), 2, '(none):80 bad_name'],
      ['a name that leads to loopback', socksConnect('loop.test', 80), 2, 'loop.test:80 forbidden_address'],
      ['a name that does not resolve', socksConnect('gone.test', 80), 4, 'gone.test:80 unresolvable'],
      ['BIND', socksConnect('allowed.test', 80, 2), 7, 'allowed.test:80 socks_command'],
      ['UDP', socksConnect('allowed.test', 80, 3), 7, 'allowed.test:80 socks_command'],
      ['another type of address', Buffer.from([5, 1, 0, 2, 1, 1]), 1, '(none):0 bad_request'],
    ])('is refused for %s', async (_, request, reply, verdict) => {
      const outcome = await play(upstream, [socksHello, request]);
      expect(outcome).toMatchObject({ verdicts: [`socks5 ${verdict}`], dialled: [] });
      expect(outcome.text.slice(0, 4)).toBe(`\x05\0\x05${String.fromCharCode(reply)}`);
    });

    it.each([
      ['dead.test', 5],
      ['silent.test', 4],
    ])('says that %s is not reached', async (name, reply) => {
      const outcome = await play(upstream, [socksHello, socksConnect(name, 80)]);
      expect(outcome.text.charCodeAt(3)).toBe(reply);
      expect(outcome.verdicts).toEqual([`socks5 ${name}:80 ok`]);
    });

    it('is refused to who insists on authentication, and to who says half of it', async () => {
      expect(await play(upstream, [Buffer.from([5, 1, 2])])).toMatchObject({
        text: '\x05\xff',
        verdicts: ['socks5 (none):0 socks_authentication'],
      });
      expect(await play(upstream, [Buffer.from([5, 3, 0])])).toMatchObject({
        verdicts: ['socks5 (none):0 incomplete'],
      });
      expect(await play(upstream, [socksHello, Buffer.from([5, 1, 0, 3, 9])])).toMatchObject({
        verdicts: ['socks5 (none):0 incomplete'],
      });
    });

    it.each([
      ['TLS with another name', () => [hellos.evil], 'sni_mismatch'],
      ['TLS without a name', () => [hellos.none], 'no_sni'],
      ['HTTP for another host', () => [get('/', 'evil.test')], 'host_mismatch'],
      ['HTTP by the URI of another host', () => [get('http://evil.test/', 'evil.test')], 'host_mismatch'],
      ['SSH', () => ['SSH-2.0-OpenSSH_9.2\r\n'], 'not_tls'],
      ['another handshake', () => [socksHello], 'not_tls'],
      ['silence', () => [], 'incomplete'],
    ] as readonly (readonly [string, () => Step[], string])[])(
      'closes a tunnel for %s',
      async (_, words, reason) => {
        const outcome = await play(upstream, [tunnel(80), 20, ...words()]);
        expect(outcome).toMatchObject({
          reached: false,
          verdicts: [expect.stringMatching(new RegExp(`^socks5 .*:80 ${reason}$`))],
        });
        expect(outcome.text.startsWith(accepted)).toBe(true);
      },
    );

    it('carries anything to a name and port that both lists have as tcp, and to no other', async () => {
      const ssh = 'SSH-2.0-OpenSSH_9.2\r\n\r\n';
      const to = (name: string, port = 22) => [
        Buffer.concat([socksHello, socksConnect(name, port)]),
        20,
        ssh,
      ];
      const carried = await play(upstream, [...to('tcp.test'), 'end']);
      expect(carried).toMatchObject({ verdicts: ['socks5 tcp.test:22 ok'], reached: true });
      // What the server, which speaks HTTP, makes of it.
      expect(carried.text).toContain('HTTP/1.1 400');
      const half = await play(upstream, to('half-tcp.test'));
      expect(half).toMatchObject({ verdicts: ['socks5 half-tcp.test:22 not_tls'], reached: false });
      const elsewhere = await play(upstream, to('tcp.test', 23));
      expect(elsewhere).toMatchObject({ verdicts: ['socks5 tcp.test:23 not_listed'], dialled: [] });
      const inside = await play(upstream, to('loop-tcp.test'));
      expect(inside).toMatchObject({ verdicts: ['socks5 loop-tcp.test:22 forbidden_address'], dialled: [] });
    });

    it('has no tunnel within a tunnel', async () => {
      const outcome = await play(upstream, [tunnel(80), connect('allowed.test:443'), hellos.allowed]);
      expect(outcome).toMatchObject({ reached: false, verdicts: ['connect allowed.test:443 bad_request'] });
    });
  });
});
