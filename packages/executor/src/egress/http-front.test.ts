import { makeHello, startUpstream, type Upstream } from '@csc-fleet/test-kit/egress/bench';
import { get, play } from '@csc-fleet/test-kit/egress/play';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream(['allowed.test']);
});
afterAll(() => upstream.close());

describe('a connection of several requests', () => {
  const good = get('http://allowed.test/1', 'allowed.test');

  it('has each of them judged', async () => {
    const outcome = await play(upstream, [good, 60, get('http://evil.test/2', 'evil.test')]);
    expect(outcome.statuses).toEqual([200, 403]);
    expect(outcome.verdicts).toEqual(['http allowed.test:80 ok', 'http evil.test:80 not_listed']);
    expect(outcome.dialled).toEqual(['93.184.216.34:80']);
  });

  it('has each judged when they come at once', async () => {
    const outcome = await play(upstream, [`${good}${good}${get('http://evil.test/', 'evil.test')}`]);
    expect(outcome.statuses).toEqual([200, 200, 403]);
    expect(outcome.dialled).toEqual(['93.184.216.34:80', '93.184.216.34:80']);
  });

  it('has no request in the body of another', async () => {
    const inner = get('http://evil.test/', 'evil.test');
    const post = `POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`;
    const outcome = await play(upstream, [post, 'end']);
    expect(outcome).toMatchObject({ statuses: [200], verdicts: ['http allowed.test:80 ok'] });
    expect(upstream.seen.at(-1)).toMatchObject({ method: 'POST', body: inner });
  });

  it('does not end a body where its client wants the server to see an end', async () => {
    const inner = get('http://evil.test/', 'evil.test');
    const head =
      'POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close, content-length\r\n';
    await play(upstream, [`${head}Content-Length: ${inner.length}\r\n\r\n${inner}`, 'end']);
    expect(upstream.seen.at(-1)).toMatchObject({ body: inner });
  });

  it.each([
    ['two lengths', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths, the other way round', 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n'],
    ['two different Content-Lengths', 'Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd'],
    ['a list of lengths', 'Content-Length: 4, 4\r\n\r\nabcd'],
    ['a length with a sign', 'Content-Length: +4\r\n\r\nabcd'],
    ['an encoding that hides', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['chunked not last', 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['an encoding before chunked', 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n'],
    ['a folded header', 'X: a\r\n Transfer-Encoding: chunked\r\n\r\n'],
    ['a bare line feed', 'X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['NUL in a header', 'X: a\0b\r\n\r\n'],
  ])('is not smuggled through by %s', async (_, rest) => {
    const inner = get('http://evil.test/', 'evil.test');
    const outcome = await play(upstream, [
      `POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${rest}${inner}`,
    ]);
    expect(outcome).toMatchObject({ statuses: [400], reached: false, dialled: [] });
    expect(outcome.verdicts.filter((verdict) => verdict.endsWith('ok'))).toEqual([]);
  });

  it('ends with a chunk that is none', async () => {
    const head =
      'POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n';
    const outcome = await play(upstream, [
      `${head}3\r\nabc\r\nZZ\r\n`,
      get('http://evil.test/', 'evil.test'),
    ]);
    expect(outcome.statuses).not.toContain(200);
    expect(outcome.verdicts).not.toContain('http evil.test:80 ok');
  });

  it.each([
    [
      'a head that is too long',
      [get('http://allowed.test/', 'allowed.test', `X: ${'a'.repeat(200_000)}`)],
      431,
      'header_too_long',
    ],
    [
      'a head that does not end',
      ['GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n'],
      408,
      'incomplete',
    ],
    ['one byte', ['G'], 408, 'incomplete'],
    ['HTTP/2', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], 400, 'bad_request'],
    ['garbage', ['\0\x01\x02\x7f\r\n\r\n'], 400, 'bad_request'],
    ['SOCKS4', [Buffer.from([4, 1, 0, 80, 127, 0, 0, 1, 0])], 400, 'bad_request'],
  ])('is refused for %s', async (_, steps, status, reason) => {
    const outcome = await play(upstream, steps);
    expect(outcome).toMatchObject({ statuses: [status], verdicts: [`http (none):0 ${reason}`], dialled: [] });
  });

  it('hides no header behind very many others', async () => {
    const many: readonly string[] = new Array(2500).fill('X: a');
    const outcome = await play(upstream, [
      get('http://allowed.test/', 'allowed.test', ...many, 'Host: evil.test'),
    ]);
    expect(outcome).toMatchObject({
      statuses: [400],
      verdicts: ['http allowed.test:80 bad_request'],
      dialled: [],
    });
  });

  it('is refused where TLS is spoken to the proxy itself', async () => {
    const outcome = await play(upstream, [await makeHello('allowed.test')]);
    expect(outcome).toMatchObject({ statuses: [400], verdicts: ['http (none):0 bad_request'], dialled: [] });
  });

  it('has nothing to log where nothing was said', async () => {
    expect(await play(upstream, [])).toMatchObject({ text: '', verdicts: [] });
    expect(await play(upstream, ['end'])).toMatchObject({ text: '', verdicts: [] });
  });
});
