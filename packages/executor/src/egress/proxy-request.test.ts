import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startUpstream, type Upstream } from './testing.ts';
import { get, play } from './testing-play.ts';

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
    ["a name that only the policy's list has", 'http://policy-only.test/', 'policy-only.test:80 not_listed'],
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
    ['the metadata service by its address', 'http://169.254.169.254/latest', '169.254.169.254:0 ip_literal'],
    ['an address that a list names', 'http://10.9.1.2/', '10.9.1.2:0 ip_literal'],
    ['a name that leads to loopback', 'http://loop.test/', 'loop.test:80 forbidden_address'],
    ['a name that leads to ::1', 'http://loop6.test/', 'loop6.test:80 forbidden_address'],
    ['a name that leads to IPv4-mapped loopback', 'http://mapped.test/', 'mapped.test:80 forbidden_address'],
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
    expect(outcome).toMatchObject({ statuses: [400], verdicts: ['http (none):0 bad_request'], dialled: [] });
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
      'to a WebSocket',
      ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
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
