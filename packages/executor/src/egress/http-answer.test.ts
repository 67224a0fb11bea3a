import { validateHeaderName, validateHeaderValue } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { startUpstream, type Upstream } from '@csc-fleet/test-kit/egress/bench';
import { get, play } from '@csc-fleet/test-kit/egress/play';
import { type RawServer, startRawServer } from '@csc-fleet/test-kit/egress/raw-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAllowList } from './allow-list.ts';
import { toRaw } from './http-head.ts';
import { createEgressProxy } from './proxy.ts';

describe('proxy request', () => {
  let upstream: Upstream;

  beforeAll(async () => {
    upstream = await startUpstream(['allowed.test']);
  });
  afterAll(() => upstream.close());

  describe('a request by absolute URI', () => {
    it.each([
      ['a name that both lists have', 'http://allowed.test/', 'allowed.test', 'http allowed.test:80 ok'],
      ['its name in other case', 'http://ALLOWED.test/', 'allowed.TEST', 'http allowed.test:80 ok'],
      ['a dot at the end', 'http://allowed.test./', 'allowed.test', 'http allowed.test:80 ok'],
      ['a scheme in capitals', 'HTTP://allowed.test/', 'allowed.test', 'http allowed.test:80 ok'],
      [
        'a port that an entry has',
        'http://allowed.test:8080/',
        'allowed.test:8080',
        'http allowed.test:8080 ok',
      ],
      ['a name below a star', 'http://a.b.wild.test/', 'a.b.wild.test', 'http a.b.wild.test:80 ok'],
      ['a private address that both lists name', 'http://named.test/', 'named.test', 'http named.test:80 ok'],
      ['localhost, where it is listed', 'http://localhost/', 'localhost', 'http localhost:80 ok'],
    ])('passes for %s', async (_, url, host, verdict) => {
      const outcome = await play(upstream, [get(url, host), 'end']);
      expect(outcome).toMatchObject({ statuses: [200], verdicts: [verdict], reached: true });
    });

    it.each([
      ['a name that no list has', 'http://evil.test/', 'evil.test:80 not_listed'],
      ['a listed name in front', 'http://allowed.test.evil.test/', 'allowed.test.evil.test:80 not_listed'],
      ['a listed name at the end', 'http://notallowed.test/', 'notallowed.test:80 not_listed'],
      ['a name above a star', 'http://wild.test/', 'wild.test:80 not_listed'],
      [
        "a name that only the policy's list has",
        'http://policy-only.test/',
        'policy-only.test:80 not_listed',
      ],
      [
        "a name that only the ceiling's list has",
        'http://ceiling-only.test/',
        'ceiling-only.test:80 not_listed',
      ],
      ['another port', 'http://allowed.test:22/', 'allowed.test:22 not_listed'],
      ['a user', 'http://allowed.test@evil.test/', '*@evil.test:0 bad_name'],
      ['a user and a port', 'http://allowed.test:80@evil.test/', '*@evil.test:0 bad_name'],
      ['a percent sign', 'http://allowed%2etest/', 'allowed%2etest:0 bad_name'],
      ['an encoded NUL', 'http://evil.test%00.wild.test/', 'evil.test%00.wild.test:0 bad_name'],
      ['an empty label', 'http://evil.test..wild.test/', 'evil.test..wild.test:0 bad_name'],
      ['a dotted address', 'http://127.0.0.1/', '127.0.0.1:0 ip_literal'],
      ['an address with a dot at the end', 'http://127.0.0.1./', '127.0.0.1.:0 ip_literal'],
      ['a decimal address', 'http://2130706433/', '2130706433:0 ip_literal'],
      ['a hexadecimal address', 'http://0x7f.1/', '0x7f.1:0 ip_literal'],
      ['an octal address', 'http://0177.0.0.1/', '0177.0.0.1:0 ip_literal'],
      ['a short address', 'http://127.1/', '127.1:0 ip_literal'],
      ['an IPv6 address', 'http://[::1]/', '[::1]:0 ip_literal'],
      ['an IPv4-mapped address', 'http://[::ffff:127.0.0.1]/', '[::ffff:127.0.0.1]:0 ip_literal'],
      ['an address with a zone', 'http://[fe80::1%25eth0]/', '[fe80::1%25eth0]:0 ip_literal'],
      [
        'the metadata service by its address',
        'http://169.254.169.254/latest',
        '169.254.169.254:0 ip_literal',
      ],
      ['an address that a list names', 'http://10.9.1.2/', '10.9.1.2:0 ip_literal'],
      ['a name that leads to loopback', 'http://loop.test/', 'loop.test:80 forbidden_address'],
      ['a name that leads to ::1', 'http://loop6.test/', 'loop6.test:80 forbidden_address'],
      [
        'a name that leads to IPv4-mapped loopback',
        'http://mapped.test/',
        'mapped.test:80 forbidden_address',
      ],
      ['a name that leads to 0.0.0.0', 'http://zero.test/', 'zero.test:80 forbidden_address'],
      ['a name that leads to the metadata service', 'http://meta.test/', 'meta.test:80 forbidden_address'],
      ['a name that leads to it by IPv6', 'http://meta6.test/', 'meta6.test:80 forbidden_address'],
      ['a name that leads to a private address', 'http://inside.test/', 'inside.test:80 forbidden_address'],
      ['a name that leads there through NAT64', 'http://nat64.test/', 'nat64.test:80 forbidden_address'],
      ['a name that leads there as well', 'http://mixed.test/', 'mixed.test:80 forbidden_address'],
      ['an address that one list names', 'http://half-named.test/', 'half-named.test:80 forbidden_address'],
      ['https', 'https://allowed.test/', 'allowed.test:443 bad_scheme'],
      ['ftp', 'ftp://allowed.test/', 'allowed.test:80 bad_scheme'],
      ['a path alone', '/', 'allowed.test:80 bad_scheme'],
    ])('is refused for %s', async (_, url, verdict) => {
      const host = /^\w+:\/\/([^/?#]*)/.exec(url)?.[1] ?? 'allowed.test';
      const outcome = await play(upstream, [get(url, host), 'end']);
      expect(outcome).toMatchObject({ statuses: [403], verdicts: [`http ${verdict}`], dialled: [] });
      expect(outcome.text).toContain(`X-CSC-Egress: ${verdict.split(' ')[1]}`);
    });

    it.each([
      ['a backslash before a user', 'http://allowed.test\\@evil.test/'],
      ['a backslash', 'http://evil.test\\.allowed.test/'],
      ['a fragment', 'http://evil.test#.wild.test/'],
      ['no authority', 'http:allowed.test'],
      ['a space', 'http://evil.test .wild.test/'],
      ['a tab', 'http://evil.test\t.wild.test/'],
      ['bytes beyond ASCII', 'http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.1/'],
    ])('is not even read with %s', async (_, url) => {
      const outcome = await play(upstream, [Buffer.from(get(url, 'allowed.test'), 'latin1'), 'end']);
      expect(outcome).toMatchObject({
        statuses: [400],
        verdicts: ['http (none):0 bad_request'],
        dialled: [],
      });
    });

    it.each([
      ['another name', ['Host: evil.test'], 403, 'host_mismatch'],
      ['another port', ['Host: allowed.test:8080'], 403, 'host_mismatch'],
      ['two Hosts', ['Host: allowed.test', 'Host: evil.test'], 400, 'bad_request'],
      ['no Host', [], 400, 'bad_request'],
    ])('is refused with %s in its head', async (_, hosts, status, reason) => {
      const outcome = await play(upstream, [
        ['GET http://allowed.test/ HTTP/1.1', ...hosts, '', ''].join('\r\n'),
        'end',
      ]);
      expect(outcome).toMatchObject({
        statuses: [status],
        verdicts: [`http allowed.test:80 ${reason}`],
        dialled: [],
      });
    });

    it.each([
      [
        'to a WebSocket without a key',
        ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
      ],
      [
        'to two protocols',
        ['Connection: Upgrade', 'Upgrade: websocket, h2c', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
      ],
      [
        'by a request with a body',
        [
          ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
          'Content-Length: 40',
        ],
      ],
      ['to HTTP/2', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']],
    ])('is not upgraded %s', async (_, headers) => {
      const outcome = await play(upstream, [get('http://allowed.test/', 'allowed.test', ...headers), 'end']);
      expect(outcome).toMatchObject({
        statuses: [403],
        verdicts: ['http allowed.test:80 upgrade'],
        dialled: [],
      });
    });

    it.each([
      ['what does not resolve', 'gone.test', 502, 'unresolvable', 'unresolvable'],
      ['what takes no connection', 'dead.test', 502, 'unreachable', 'ok'],
      ['what does not answer', 'silent.test', 504, 'unreachable', 'ok'],
    ])('says so for %s', async (_, name, status, reason, verdict) => {
      const outcome = await play(upstream, [get(`http://${name}/`, name), 'end']);
      expect(outcome).toMatchObject({
        statuses: [status],
        verdicts: [`http ${name}:80 ${verdict}`],
        reached: false,
      });
      expect(outcome.text).toContain(`X-CSC-Egress: ${reason}`);
    });
  });
});

describe('proxy reply', () => {
  let server: RawServer;

  beforeAll(async () => {
    server = await startRawServer();
  });
  afterAll(() => server.close());

  const ask = async (reply: string | ((socket: Socket) => void)): Promise<string> => {
    const answer = typeof reply === 'string' ? (to: Socket) => void to.end(reply, 'latin1') : reply;
    server.answers.push(answer);
    const { text } = await play(server.upstream, [
      get('http://allowed.test/', 'allowed.test', 'Connection: close'),
    ]);
    return text;
  };
  const body = 'Content-Length: 2\r\n\r\nhi';

  describe('toRaw', () => {
    it('leaves nothing that Node refuses to write', () => {
      const odd = Array.from({ length: 0x180 }, (_, code) => String.fromCharCode(code));
      const raw = toRaw(
        odd.flatMap((letter) => [[`x${letter}`, 'a'] as const, ['y', `b${letter}`] as const]),
      );
      for (let at = 0; at < raw.length; at += 2) {
        validateHeaderName(raw[at] ?? '');
        validateHeaderValue('y', raw[at + 1] ?? '');
      }
      expect(raw.filter((text) => text === 'y')).toHaveLength(odd.length);
    });
  });

  describe('an answer of an allowed host', () => {
    it.each([
      ['\x01', 'O\x01K', 'O K'],
      ['ESC', '\x1b]0;title\x07', ' ]0;title '],
      ['DEL', 'O\x7fK', 'O K'],
      ['NUL', 'O\0K', 'O K'],
      ['other letters', 'Schön', 'Schön'],
      ['nothing', '', ''],
    ])('is passed on with %s in its reason phrase', async (_, phrase, seen) => {
      const text = await ask(`HTTP/1.1 200 ${phrase}\r\n${body}`);
      expect(text).toMatch(/\r\n\r\nhi$/);
      expect(text.split('\r\n')[0]).toBe(`HTTP/1.1 200 ${seen}`);
    });

    it.each([
      ['\x01 in a header', `HTTP/1.1 200 OK\r\nX: a\x01b\r\n${body}`],
      ['ESC in a header', `HTTP/1.1 200 OK\r\nX: a\x1b[2Jb\r\n${body}`],
      ['NUL in a header', `HTTP/1.1 200 OK\r\nX: a\0b\r\n${body}`],
      ['a space in a name', `HTTP/1.1 200 OK\r\nX Y: a\r\n${body}`],
      ['an empty name', `HTTP/1.1 200 OK\r\n: a\r\n${body}`],
      ['a status of two digits', `HTTP/1.1 20 OK\r\n${body}`],
      ['a status below 100', `HTTP/1.1 099 OK\r\n${body}`],
      ['a status of four digits', `HTTP/1.1 2000 OK\r\n${body}`],
      ['two lengths', `HTTP/1.1 200 OK\r\nContent-Length: 3\r\n${body}`],
      ['a protocol to change to', `HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`],
      ['TLS', '\x15\x03\x01\0\x02\x02\x28'],
      ['nothing', ''],
    ])('that has %s is a 502', async (_, reply) => {
      const text = await ask(reply);
      expect(text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
      expect(text).toContain('X-CSC-Egress: bad_answer');
    });

    it.each([
      ['a chunk size', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nZZ\r\n`],
      ['a trailer', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX\0: a\r\n\r\n`],
      ['its end', `HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi`],
    ])('that breaks off at %s is broken off', async (_, reply) => {
      const text = await ask(reply);
      expect(text).toContain('HTTP/1.1 200 OK');
      expect(text).not.toMatch(/\r\n0\r\n\r\n$/);
    });
  });

  describe('a listener that cannot accept a connection', () => {
    it('ends nothing but that connection', async () => {
      const listener = createServer();
      const proxy = createEgressProxy({ allow: createAllowList([]) });
      proxy.serve(listener);
      // As net.Server says it, out of descriptors; without a listener it throws.
      expect(() => listener.emit('error', new Error('accept EMFILE'))).not.toThrow();
      await proxy.close();
    });
  });
});
