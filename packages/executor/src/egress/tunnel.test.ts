import {
  cutRecord,
  greaseEch,
  type Step,
  startUpstream,
  type Upstream,
} from '@csc-fleet/test-kit/egress/bench';
import { connect, get, makeHellos, play } from '@csc-fleet/test-kit/egress/play';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let upstream: Upstream;
let hellos: Awaited<ReturnType<typeof makeHellos>>;

beforeAll(async () => {
  upstream = await startUpstream(['allowed.test']);
  hellos = await makeHellos();
});
afterAll(() => upstream.close());

describe('a tunnel', () => {
  it.each([
    ['the name that was asked for', 'allowed.test:443', () => [hellos.allowed]],
    ['it in other case', 'ALLOWED.test:443', () => [hellos.upper]],
    ['it where the request has a dot', 'allowed.test.:443', () => [hellos.allowed]],
    ['it with a dot', 'allowed.test:443', () => [hellos.dotted]],
    ['it in small records', 'allowed.test:443', () => [cutRecord(hellos.allowed, 9)]],
    [
      'it in small segments',
      'allowed.test:443',
      () => [
        hellos.allowed.subarray(0, 3),
        20,
        hellos.allowed.subarray(3, 100),
        20,
        hellos.allowed.subarray(100),
      ],
    ],
  ])('opens for TLS with %s', async (_, authority, hello) => {
    const outcome = await play(upstream, [connect(authority), ...hello(), 'end']);
    expect(outcome).toMatchObject({
      statuses: [200],
      verdicts: ['connect allowed.test:443 ok'],
      reached: true,
    });
    // A handshake record of the server.
    expect(outcome.text).toContain('\x16\x03\x03');
  });

  it('opens for a hello that comes with the request', async () => {
    const outcome = await play(upstream, [
      Buffer.concat([Buffer.from(connect('allowed.test:443')), hellos.allowed]),
      150,
      'end',
    ]);
    expect(outcome).toMatchObject({ verdicts: ['connect allowed.test:443 ok'], reached: true });
  });

  it.each([
    ['another name', () => [hellos.evil], 'sni_mismatch'],
    ['another name in small records', () => [cutRecord(hellos.evil, 5)], 'sni_mismatch'],
    [
      'another name in small segments',
      () => [hellos.evil.subarray(0, 40), 20, hellos.evil.subarray(40)],
      'sni_mismatch',
    ],
    ['another listed name', () => [hellos.wild], 'sni_mismatch'],
    ['no name', () => [hellos.none], 'no_sni'],
    ['a hello that is cut off', () => [hellos.allowed.subarray(0, -1), 'end'], 'incomplete'],
    ['a hello that goes on for ever', () => [hellos.allowed.subarray(0, 100)], 'incomplete'],
    ['two hellos in one record', () => [twoHellos(hellos.allowed, hellos.evil)], 'malformed_tls'],
    ['SSH', () => ['SSH-2.0-OpenSSH_9.2\r\n'], 'not_tls'],
    ['HTTP without a method', () => ['evil.test / HTTP/1.1\r\n\r\n'], 'not_tls'],
    ['a method without an end', () => ['A'.repeat(40)], 'not_tls'],
    ['half a method', () => ['GE', 'end'], 'incomplete'],
    ['silence', () => [], 'incomplete'],
  ] as readonly (readonly [string, () => Step[], string])[])('is closed for %s', async (_, words, reason) => {
    const outcome = await play(upstream, [connect('allowed.test:443'), 20, ...words()]);
    expect(outcome).toMatchObject({
      statuses: [200],
      verdicts: [`connect allowed.test:443 ${reason}`],
      reached: false,
    });
  });

  it('carries plain HTTP, every request of it judged by its Host header', async () => {
    const outcome = await play(upstream, [
      connect('allowed.test:80'),
      get('/1', 'allowed.test'),
      60,
      get('http://allowed.test/2', 'allowed.test:80'),
      60,
      get('/3', 'evil.test'),
    ]);
    expect(outcome.statuses).toEqual([200, 200, 200, 403]);
    expect(outcome.verdicts).toEqual([
      'connect allowed.test:80 ok',
      'connect allowed.test:80 ok',
      'connect allowed.test:80 host_mismatch',
    ]);
    expect(upstream.seen.at(-1)).toMatchObject({ url: '/2' });
  });

  it.each([
    ['another host', () => [get('/', 'evil.test')], 403, 'allowed.test:80 host_mismatch'],
    [
      'a URI of another host',
      () => [get('http://evil.test/', 'evil.test')],
      403,
      'evil.test:80 host_mismatch',
    ],
    ['two hosts', () => [get('/', 'allowed.test', 'Host: evil.test')], 400, 'allowed.test:80 bad_request'],
    ['no host', () => ['GET / HTTP/1.1\r\n\r\n'], 400, 'allowed.test:80 bad_request'],
    ['no method that HTTP has', () => ['EVIL / HTTP/1.1\r\n\r\n'], 400, 'allowed.test:80 bad_request'],
    ['a second CONNECT', () => [connect('evil.test:443')], 400, 'evil.test:443 bad_request'],
  ] as readonly (readonly [string, () => Step[], number, string])[])(
    'answers plain HTTP for %s with a refusal',
    async (_, words, status, verdict) => {
      const outcome = await play(upstream, [connect('allowed.test:80'), 20, ...words()]);
      expect(outcome).toMatchObject({
        statuses: [200, status],
        verdicts: [`connect ${verdict}`],
        reached: false,
      });
    },
  );

  it.each([
    ['as browsers send it to no purpose', 0xfe0d, greaseEch],
    ['inner', 0xfe0d, Buffer.from([1])],
    ['empty', 0xfe0d, Buffer.alloc(0)],
    ['of a draft', 0xfe0a, greaseEch],
    ['of an early draft', 0xff02, greaseEch],
    ['as ESNI', 0xffce, greaseEch],
    ['by ech_outer_extensions', 0xfd00, Buffer.from([2, 0, 10])],
  ])('is closed for a hello that is encrypted: %s', async (_, type, data) => {
    const hello = await hellos.encrypted('allowed.test', type, data);
    const outcome = await play(upstream, [connect('allowed.test:443'), 20, hello]);
    expect(outcome).toMatchObject({ verdicts: ['connect allowed.test:443 ech'], reached: false });
    // A fatal alert, access_denied.
    expect(outcome.text).toContain('\x15\x03\x03\0\x02\x02\x31');
  });

  it('opens for an encrypted hello where both lists say so, and only to the name that it shows', async () => {
    const allowed = await hellos.encrypted('ech.test');
    const open = await play(upstream, [connect('ech.test:443'), 20, allowed, 'end']);
    expect(open).toMatchObject({ verdicts: ['connect ech.test:443 ok'], reached: true });
    const half = await hellos.encrypted('half-ech.test');
    const closed = await play(upstream, [connect('half-ech.test:443'), 20, half]);
    expect(closed).toMatchObject({ verdicts: ['connect half-ech.test:443 ech'], reached: false });
    const other = await play(upstream, [connect('ech.test:443'), 20, await hellos.encrypted('evil.test')]);
    expect(other).toMatchObject({ verdicts: ['connect ech.test:443 sni_mismatch'], reached: false });
  });

  it.each([
    ['another name', 'evil.test:443'],
    ['another name without a port', 'evil.test'],
    ['another port', 'allowed.test:80'],
    ['an address', '93.184.216.34:443'],
    ['nothing', ''],
    ['the name and more', 'allowed.test:443, evil.test'],
  ])('is not made where the Host header has %s', async (_, host) => {
    const outcome = await play(upstream, [connect('allowed.test:443', host), hellos.allowed]);
    expect(outcome).toMatchObject({
      statuses: [400],
      verdicts: ['connect allowed.test:443 host_mismatch'],
      dialled: [],
    });
  });

  it('is not made with two Host headers', async () => {
    const two = 'allowed.test:443\r\nHost: evil.test:443';
    const outcome = await play(upstream, [connect('allowed.test:443', two), hellos.allowed]);
    expect(outcome).toMatchObject({ statuses: [400], verdicts: ['connect allowed.test:443 bad_request'] });
  });

  it.each([
    ['in other case', 'Allowed.TEST:443'],
    ['without the port', 'allowed.test'],
    ['with a dot', 'allowed.test.:443'],
  ])('is made where the Host header has the same name %s', async (_, host) => {
    const outcome = await play(upstream, [connect('allowed.test:443', host), 20, hellos.allowed, 'end']);
    expect(outcome).toMatchObject({ verdicts: ['connect allowed.test:443 ok'], reached: true });
  });

  it('is made without a Host header', async () => {
    const bare = 'CONNECT allowed.test:443 HTTP/1.0\r\n\r\n';
    const outcome = await play(upstream, [bare, 20, hellos.allowed, 'end']);
    expect(outcome).toMatchObject({ verdicts: ['connect allowed.test:443 ok'], reached: true });
  });

  it.each([
    ['evil.test:443', 'evil.test:443 not_listed'],
    ['allowed.test:22', 'allowed.test:22 not_listed'],
    ['allowed.test', 'allowed.test:0 bad_port'],
    ['allowed.test:0', 'allowed.test:0 bad_port'],
    ['allowed.test:443@evil.test:443', '*@evil.test:443 bad_name'],
    ['127.0.0.1:443', '127.0.0.1:443 ip_literal'],
    ['[::1]:443', '[::1]:443 ip_literal'],
    ['2130706433:443', '2130706433:443 ip_literal'],
    ['127.1:443', '127.1:443 ip_literal'],
    ['loop.test:443', 'loop.test:443 forbidden_address'],
    ['meta.test:443', 'meta.test:443 forbidden_address'],
  ])('is not made to %s', async (authority, verdict) => {
    const outcome = await play(upstream, [connect(authority), hellos.allowed]);
    expect(outcome).toMatchObject({ statuses: [403], verdicts: [`connect ${verdict}`], dialled: [] });
  });

  it.each([
    ['gone.test', 502, 'unresolvable'],
    ['dead.test', 502, 'ok'],
    ['silent.test', 504, 'ok'],
  ])('to %s is answered with %i', async (name, status, verdict) => {
    const outcome = await play(upstream, [connect(`${name}:443`)]);
    expect(outcome).toMatchObject({
      statuses: [status],
      verdicts: [`connect ${name}:443 ${verdict}`],
      reached: false,
    });
  });

  it('may come after other requests, and not among them', async () => {
    const good = get('http://allowed.test/', 'allowed.test');
    const after = await play(upstream, [
      good,
      // The whole answer.
      { until: /^HTTP\/1\.1 200 [\s\S]*\r\n\r\n[\s\S]*(?:\r\n0\r\n\r\n|[^\r\n])$/ },
      connect('allowed.test:443'),
      20,
      hellos.allowed,
      100,
      'end',
    ]);
    expect(after.statuses).toEqual([200, 200]);
    expect(after.verdicts).toEqual(['http allowed.test:80 ok', 'connect allowed.test:443 ok']);
    const among = await play(upstream, [`${good}${connect('allowed.test:443')}`, hellos.allowed]);
    expect(among.verdicts).toContain('connect allowed.test:443 bad_request');
    expect(among.dialled).not.toContain('93.184.216.34:443');
  });
});

// Two messages of a handshake in one record.
function twoHellos(first: Buffer, second: Buffer): Buffer {
  const body = Buffer.concat([first.subarray(5), second.subarray(5)]);
  return Buffer.concat([Buffer.from([22, 3, 1, body.length >> 8, body.length & 255]), body]);
}
