import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeTarget, endToEndHeaders, type HostPort, readHttpTarget } from './http-head.ts';

const fixed: HostPort = { host: 'a.test', port: 8080 };

function read(url: string, headers: readonly string[], tunnel?: HostPort, httpVersion = '1.1') {
  const result = readHttpTarget({ url, httpVersion, rawHeaders: headers }, tunnel);
  return result.ok ? result.target : result.refusal.reason;
}

const host = (text: string): string[] => ['Host', text];

describe('readHttpTarget', () => {
  it.each([
    ['http://a.test/x?y', 'a.test', 80, '/x?y'],
    ['HTTP://A.Test.', 'a.test', 80, '/'],
    ['http://a.test?q', 'A.TEST:80', 80, '/?q'],
    ['http://a.test:8080/', 'a.test:8080', 8080, '/'],
    ['http://a.test:8080/', 'a.test', 8080, '/'],
    ['http://a.test//b.test/@c', 'a.test', 80, '//b.test/@c'],
  ])('takes %s with Host %s', (url, header, port, path) => {
    expect(read(url, host(header))).toEqual({ host: 'a.test', port, path, framing: 'none' });
  });

  it('takes paths, and URIs of the same host, within a tunnel', () => {
    for (const [url, header] of [
      ['/x', 'a.test'],
      ['/x', 'A.test.:8080'],
      ['http://a.test:8080/x', 'a.test:8080'],
    ] as const) {
      expect(read(url, host(header), fixed)).toMatchObject({ host: 'a.test', port: 8080, path: '/x' });
    }
  });

  it.each([
    ['/x', 'bad_scheme'],
    ['*', 'bad_scheme'],
    ['a.test:80', 'bad_scheme'],
    ['//a.test/', 'bad_scheme'],
    ['https://a.test/', 'bad_scheme'],
    ['ftp://a.test/', 'bad_scheme'],
    ['file:///etc/passwd', 'bad_scheme'],
    ['http:a.test', 'bad_scheme'],
    ['http://a.test/#f', 'bad_scheme'],
    ['http://a.test#@evil.test/', 'bad_scheme'],
    ['http://', 'bad_name'],
    ['http:///x', 'bad_name'],
    ['http://a.test@evil.test/', 'bad_name'],
    ['http://user:secret@a.test/', 'bad_name'],
    ['http://a.test\\@evil.test/', 'bad_name'],
    ['http://a%2etest/', 'bad_name'],
    ['http://[::1]/', 'ip_literal'],
    ['http://127.1/', 'ip_literal'],
    ['http://a.test:0/', 'bad_port'],
    ['http://b.test/', 'host_mismatch'],
    ['http://a.test:81/', undefined],
  ])('of %s says %s', (url, reason) => {
    const result = read(url, host('a.test'));
    expect(typeof result === 'string' ? result : undefined).toBe(reason);
  });

  it.each([
    ['another name', host('b.test')],
    ['another port', host('a.test:81')],
    ['a user', host('x@a.test')],
    ['nothing', host('')],
    ['a list', host('a.test, b.test')],
  ])('refuses a Host of %s', (_, headers) => {
    expect(read('http://a.test/', headers)).toBe('host_mismatch');
    expect(read('/', headers, { host: 'a.test', port: 80 })).toBe('host_mismatch');
  });

  it('refuses two Hosts, and none but of HTTP/1.0', () => {
    expect(read('http://a.test/', [...host('a.test'), ...host('a.test')])).toBe('bad_request');
    expect(read('http://a.test/', [])).toBe('bad_request');
    expect(read('http://a.test/', [], undefined, '1.0')).toMatchObject({ host: 'a.test' });
  });

  it.each([
    [
      ['Content-Length', '3'],
      ['Content-Length', '3'],
    ],
    [
      ['Transfer-Encoding', 'Chunked'],
      ['Transfer-Encoding', 'chunked'],
    ],
    [[], 'none'],
  ])('of %j gathers where the body ends', (headers, framing) => {
    expect(read('http://a.test/', [...host('a.test'), ...headers])).toMatchObject({ framing });
  });

  it.each([
    [['Content-Length', '3', 'Transfer-Encoding', 'chunked']],
    [['Content-Length', '3', 'Content-Length', '3']],
    [['Content-Length', '+3']],
    [['Content-Length', '3,3']],
    [['Content-Length', '0x3']],
    [['Content-Length', '']],
    [['Transfer-Encoding', 'gzip, chunked']],
    [['Transfer-Encoding', 'identity']],
    [['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
    [['Transfer-Encoding', 'chunked, chunked']],
  ])('does not guess where the body ends: %j', (headers) => {
    expect(read('http://a.test/', [...host('a.test'), ...headers])).toBe('ambiguous_length');
  });

  it('lets no HTTP/1.0 client send chunks', () => {
    expect(
      read('http://a.test/', [...host('a.test'), 'Transfer-Encoding', 'chunked'], undefined, '1.0'),
    ).toBe('ambiguous_length');
  });

  it('upgrades nothing', () => {
    expect(read('http://a.test/', [...host('a.test'), 'Upgrade', 'websocket'])).toBe('upgrade');
    expect(read('http://a.test/', [...host('a.test'), 'Connection', 'keep-alive, UPGRADE'])).toBe('upgrade');
  });

  it('leads nowhere else than its URI says, whatever that is', () => {
    const url = fc.oneof(
      fc.webUrl({
        validSchemes: ['http', 'https'],
        authoritySettings: { withPort: true, withUserInfo: true, withIPv4Extended: true },
      }),
      fc.string(),
    );
    fc.assert(
      fc.property(url, (text) => {
        const result = readHttpTarget({ url: text, httpVersion: '1.0', rawHeaders: [] });
        expect(describeTarget({ url: text, httpVersion: '1.0', rawHeaders: [] }).port).toBeLessThan(65_536);
        if (!result.ok) return;
        const { hostname, port } = new URL(text);
        expect(result.target).toMatchObject({ host: hostname.replace(/\.$/, ''), port: Number(port || 80) });
      }),
      { numRuns: 1000 },
    );
  });
});

describe('describeTarget', () => {
  it.each([
    ['http://a.test/x', 'a.test', 80],
    ['https://a.test/x', 'a.test', 443],
    ['http://user:secret@a.test/x', '*@a.test', 0],
    ['http://127.0.0.1:8080/', '127.0.0.1', 8080],
    ['/x', 'in.host.test', 80],
  ])('of %s is %s:%i', (url, name, port) => {
    const head = { url, httpVersion: '1.1', rawHeaders: host('in.host.test') };
    expect(describeTarget(head)).toEqual({ host: name, port });
  });
});

describe('endToEndHeaders', () => {
  it('leaves out what concerns one connection, and what `Connection` names', () => {
    const raw = [
      'Host',
      'h',
      'CONNECTION',
      'close, x-one',
      'Connection',
      'X-Two,content-length',
      'X-One',
      '1',
      'x-two',
      '2',
      'Keep-Alive',
      't',
      'TE',
      'trailers',
      'Trailer',
      'x',
      'Proxy-Authorization',
      'Basic s',
      'Proxy-Connection',
      'k',
      'Content-Length',
      '3',
      'Transfer-Encoding',
      'chunked',
      'Expect',
      '100-continue',
      'HTTP2-Settings',
      's',
      'Accept',
      'a',
      'Set-Cookie',
      '1',
      'Set-Cookie',
      '2',
    ];
    expect(endToEndHeaders(raw)).toEqual([
      ['Accept', 'a'],
      ['Set-Cookie', '1'],
      ['Set-Cookie', '2'],
    ]);
  });
});
