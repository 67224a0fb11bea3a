import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import {
  type Bench,
  type BenchOptions,
  makeHello,
  socksConnect,
  socksHello,
  startBench,
  startUpstream,
  talk,
  type Upstream,
} from '@csc-fleet/test-kit/egress/bench';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nodeOptions, proxyFiles } from './sandbox-files.ts';
import { proxyEnvironment } from './sandbox-side.ts';

const names = ['allowed.test', 'other.test'];
const publicAddress = '93.184.216.34';
const request = (path: string, ...more: readonly string[]): string =>
  [`GET http://allowed.test${path} HTTP/1.1`, 'Host: allowed.test', ...more, '', ''].join('\r\n');

let upstream: Upstream;
let directory: string;
let bench: Bench;

beforeAll(async () => {
  upstream = await startUpstream(names);
  directory = mkdtempSync(join(tmpdir(), 'csc-egress-'));
  writeFileSync(join(directory, 'ca.pem'), upstream.ca);
});
afterEach(async () => {
  upstream.tricks.length = 0;
  await bench.close();
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await upstream.close();
});

async function start(options: Partial<BenchOptions> = {}): Promise<void> {
  const resolve = async (name: string): Promise<string[]> => (names.includes(name) ? [publicAddress] : []);
  bench = await startBench({ lists: [names], resolve, upstream, ...options });
}

describe('resolution', () => {
  it('comes after the lists: nobody is asked for a name that is refused', async () => {
    const asked: string[] = [];
    await start({ resolve: async (name) => [asked.push(name), publicAddress].map(String).slice(1) });
    await talk(bench.port, ['GET http://data.evil.test/ HTTP/1.1\r\nHost: data.evil.test\r\n\r\n', 'end']);
    await talk(bench.port, ['CONNECT data.evil.test:443 HTTP/1.1\r\n\r\n', 'end']);
    await talk(bench.port, [socksHello, socksConnect('data.evil.test', 443), 'end']);
    expect(asked).toEqual([]);
    await talk(bench.port, [request('/'), 'end']);
    expect(asked).toEqual(['allowed.test']);
  });

  it('is done once a request: a second answer is judged like the first (DNS rebinding)', async () => {
    const answers = [[publicAddress], ['127.0.0.1'], ['169.254.169.254'], [publicAddress, '::ffff:10.0.0.1']];
    let asked = 0;
    await start({ resolve: async () => answers[asked++] ?? [] });
    const text = await talk(bench.port, [request('/1'), 60, request('/2'), 'end']);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403']);
    expect(await talk(bench.port, [request('/3'), 'end'])).toContain('403');
    expect(await talk(bench.port, [request('/4'), 'end'])).toContain('403');
    expect(asked).toBe(4);
    expect(bench.dialled).toEqual([`${publicAddress}:80`]);
  });

  it('is done once a tunnel, however many requests it carries', async () => {
    let asked = 0;
    await start({ resolve: async () => (asked++ === 0 ? [publicAddress] : ['127.0.0.1']) });
    const inner = 'GET /x HTTP/1.1\r\nHost: allowed.test\r\n\r\n';
    const text = await talk(bench.port, [
      socksHello,
      socksConnect('allowed.test', 80),
      inner,
      60,
      inner,
      'end',
    ]);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200']);
    expect(bench.dialled).toEqual([`${publicAddress}:80`, `${publicAddress}:80`]);
    expect(asked).toBe(1);
  });

  it('goes on to the next address where one takes no connection', async () => {
    await start({ resolve: async () => ['93.184.216.99', publicAddress] });
    expect(await talk(bench.port, [request('/'), 'end'])).toContain('HTTP/1.1 200');
    expect(bench.dialled).toEqual(['93.184.216.99:80', `${publicAddress}:80`]);
  });
});

describe('a forwarded request', () => {
  it('has its own Host and none of the headers of one connection', async () => {
    await start();
    const headers = [
      'Connection: X-Hop',
      'X-Hop: 1',
      'Proxy-Authorization: Basic c2VjcmV0',
      'Proxy-Connection: keep-alive',
      'TE: trailers',
      'Accept: a',
      'accept: b',
    ];
    await talk(bench.port, [
      `GET http://ALLOWED.test./p?q HTTP/1.1\r\nHost: allowed.TEST\r\n${headers.join('\r\n')}\r\n\r\n`,
      'end',
    ]);
    expect(upstream.seen.at(-1)).toEqual({
      method: 'GET',
      url: '/p?q',
      rawHeaders: ['Host', 'allowed.test', 'Accept', 'a', 'accept', 'b', 'Connection', 'close'],
      body: '',
    });
  });

  it.each([
    ['of a length', 'Content-Length: 3\r\n\r\nabc', 'abc', ['Content-Length', '3']],
    [
      'in chunks',
      'Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n',
      'abc',
      ['Transfer-Encoding', 'chunked'],
    ],
    ['that is empty', '\r\n', '', ['Content-Length', '0']],
  ])('has its body %s', async (_, rest, body, framing) => {
    await start();
    await talk(bench.port, [`POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n${rest}`, 'end']);
    expect(upstream.seen.at(-1)).toMatchObject({ method: 'POST', body });
    expect(upstream.seen.at(-1)?.rawHeaders).toEqual([
      'Host',
      'allowed.test',
      ...framing,
      'Connection',
      'close',
    ]);
  });

  it('may wait for a 100 Continue', async () => {
    await start();
    const head =
      'POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n';
    const text = await talk(bench.port, [head, 60, 'abc', 'end']);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 100', 'HTTP/1.1 200']);
    expect(upstream.seen.at(-1)).toMatchObject({ body: 'abc' });
  });
});

describe('an answer', () => {
  it('passes as it is: a redirect is the client’s to follow', async () => {
    await start();
    upstream.tricks.push((_, response) => {
      response.writeHead(302, 'Elsewhere', [
        'Location',
        'http://evil.test/',
        'Set-Cookie',
        'a',
        'Set-Cookie',
        'b',
        'Connection',
        'x-hop',
        'X-Hop',
        '1',
      ]);
      response.end('gone');
    });
    const text = await talk(bench.port, [request('/'), 'end']);
    expect(text).toMatch(
      /^HTTP\/1\.1 302 Elsewhere\r\nLocation: http:\/\/evil\.test\/\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n/,
    );
    expect(text).not.toContain('X-Hop');
    expect(bench.dialled).toHaveLength(1);
  });

  it.each([
    ['is none', 'SSH-2.0-OpenSSH\r\n\r\n', 502],
    ['never comes', '', 502],
    [
      'changes the protocol',
      'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsecret',
      502,
    ],
    [
      'ends in two ways',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      502,
    ],
  ])('that %s becomes a 502', async (_, bytes, status) => {
    await start();
    upstream.tricks.push((incoming) => incoming.socket.end(bytes));
    const text = await talk(bench.port, [request('/'), 'end']);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*X-CSC-Egress: bad_answer`));
    expect(text).not.toContain('secret');
  });

  it('that breaks off is broken off', async () => {
    await start();
    upstream.tricks.push((incoming) =>
      incoming.socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'),
    );
    const text = await talk(bench.port, [request('/')]);
    expect(text).toContain('abc');
    expect(text).not.toContain('0\r\n\r\n');
  });

  it('of any length goes no faster than its client takes it', async () => {
    await start();
    const total = 64 * 1024 * 1024;
    let written = 0;
    upstream.tricks.push((_, response) => {
      const chunk = Buffer.alloc(65_536, 'x');
      const more = (): void => {
        while (written < total) {
          written += chunk.length;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
        response.end();
      };
      more();
    });
    const client = connectTo({ port: bench.port, host: '127.0.0.1' });
    client.write(request('/', 'Connection: close'));
    await new Promise((resolve) => client.once('readable', resolve));
    // It reads nothing: what is under way fills the buffers of two connections, and no more is asked for.
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(written).toBeLessThan(total / 2);
    let received = 0;
    client.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    await new Promise((resolve) => client.once('close', resolve));
    expect(received).toBeGreaterThan(total);
  });
});

describe('a tunnel', () => {
  it('carries TLS of any length, both ways', async () => {
    await start();
    const body = 'x'.repeat(5_000_000);
    const { tls } = await openTls('allowed.test');
    tls.write(
      `POST /big HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
    expect(await readAll(tls)).toContain('HTTP/1.1 200');
    expect(upstream.seen.at(-1)?.body.length).toBe(body.length);
  });

  it('has the server’s own certificate at its other end', async () => {
    await start();
    const { tls } = await openTls('allowed.test');
    expect(tls.getPeerCertificate().subjectaltname).toContain('DNS:allowed.test');
    tls.destroy();
  });

  it('is closed on the one side where the other breaks off', async () => {
    await start();
    const { tls, raw } = await openTls('allowed.test');
    upstream.tricks.push((incoming) => incoming.socket.destroy());
    const ended = new Promise((resolve) => raw.once('close', resolve));
    tls.on('error', () => undefined).write('GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n');
    await ended;
    expect(bench.proxy.summary()).toMatchObject({ allowed: 1, denied: 0 });
  });
});

describe('a client that breaks off', () => {
  it('takes its tunnel along', async () => {
    await start();
    const { tls, raw } = await openTls('allowed.test');
    expect(bench.open()).toBe(1);
    tls.on('error', () => undefined);
    raw.resetAndDestroy();
    await expect.poll(() => bench.open()).toBe(0);
  });

  it('takes its request along', async () => {
    await start();
    const arrived = Promise.withResolvers<unknown>();
    upstream.tricks.push(arrived.resolve);
    const socket = await open(bench.port);
    socket.write(request('/'));
    await arrived.promise;
    socket.resetAndDestroy();
    await expect.poll(() => bench.open()).toBe(0);
  });
});

describe('the limits', () => {
  it('hold for connections at once', async () => {
    await start({ limits: { connections: 2 } });
    const held = [await open(bench.port), await open(bench.port)];
    // Accepted behind those that were open first.
    expect(await talk(bench.port, [request('/')])).toBe('');
    expect(bench.verdicts.at(-1)).toMatchObject({ verdict: 'denied', reason: 'too_many_connections' });
    for (const socket of held) socket.destroy();
    await expect.poll(() => talk(bench.port, [request('/'), 'end'])).toContain('HTTP/1.1 200');
  });

  it('hold for silence in a tunnel', async () => {
    await start({ limits: { idleMs: 100 } });
    const text = await talk(bench.port, [
      'CONNECT allowed.test:443 HTTP/1.1\r\n\r\n',
      20,
      await makeHello('allowed.test'),
    ]);
    expect(text).toContain('\x16\x03\x03');
  });

  it('hold for silence between requests', async () => {
    await start({ limits: { headerMs: 100 } });
    expect(await talk(bench.port, [request('/')])).toMatch(/^HTTP\/1\.1 200 /);
    expect(bench.proxy.summary()).toMatchObject({ allowed: 1, denied: 0 });
  });

  it('hold for requests that wait for others', async () => {
    await start();
    upstream.tricks.push(() => {});
    expect(await talk(bench.port, [request('/').repeat(500)])).toBe('');
    expect(bench.dialled).toHaveLength(1);
  });
});

describe('close', () => {
  it('ends servers, tunnels and requests at once, and again does nothing', async () => {
    await start();
    const arrived = Promise.withResolvers<unknown>();
    upstream.tricks.push(arrived.resolve);
    const waiting = talk(bench.port, [request('/')]);
    await arrived.promise;
    const { raw } = await openTls('allowed.test');
    const idle = await open(bench.port);
    const ended = [raw, idle].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    await bench.close();
    await Promise.all([...ended, waiting]);
    await bench.close();
    await expect(open(bench.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('connects to nothing any more', async () => {
    const { promise, resolve } = Promise.withResolvers<string[]>();
    const asked = Promise.withResolvers<void>();
    const slow = () => {
      asked.resolve();
      return promise;
    };
    await start({ resolve: slow });
    const waiting = talk(bench.port, [request('/')]);
    await asked.promise;
    await bench.close();
    resolve([publicAddress]);
    expect(await waiting).toBe('');
    expect(bench.sent()).toBe(0);
  });
});

describe('whatever is sent', () => {
  it('the proxy lives, and reaches nothing else', async () => {
    await start({ limits: { headerMs: 30, idleMs: 60 } });
    const hello = await makeHello('evil.test');
    const piece = fc.oneof(
      fc
        .constantFrom(
          'GET ',
          'CONNECT ',
          'http://',
          'allowed.test',
          'evil.test',
          ':443',
          ' HTTP/1.1',
          '\r\n',
          '\r\n\r\n',
          'Host: ',
          '/',
          'Content-Length: 3',
          'Transfer-Encoding: chunked',
        )
        .map((text) => Buffer.from(text)),
      fc.constantFrom(socksHello, socksConnect('allowed.test', 443), socksConnect('evil.test', 443), hello),
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 10 }), fc.boolean(), async (pieces, ends) => {
        await talk(bench.port, [...pieces, ...(ends ? (['end'] as const) : [])]);
      }),
      { numRuns: 150 },
    );
    expect(bench.dialled.filter((place) => !/^93\.184\.216\.34:(80|443)$/.test(place))).toEqual([]);
    expect(await talk(bench.port, [request('/'), 'end'])).toContain('HTTP/1.1 200');
  });
});

describe('real clients', () => {
  const run = promisify(execFile);

  async function curl(...args: readonly string[]): Promise<string> {
    const env = { PATH: process.env['PATH'], ...proxyEnvironment(bench.port) };
    const options = [
      '--silent',
      '--show-error',
      '--include',
      '--max-time',
      '10',
      '--cacert',
      join(directory, 'ca.pem'),
    ];
    const { stdout, stderr } = await run('curl', [...options, ...args], { env }).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    return `${stdout}${stderr}`;
  }

  it('curl gets what is allowed, by HTTP, TLS and SOCKS', async () => {
    await start();
    const socks = ['--proxy', `socks5h://127.0.0.1:${bench.port}`];
    for (const args of [
      ['http://allowed.test/'],
      ['https://allowed.test/'],
      ['-p', 'http://allowed.test/'],
      [...socks, 'http://allowed.test/'],
      [...socks, 'https://allowed.test/'],
    ]) {
      expect(await curl(...args)).toContain('X-Upstream: yes');
    }
    expect(bench.verdicts.map(({ protocol, verdict }) => `${protocol} ${verdict}`)).toEqual([
      'http allowed',
      'connect allowed',
      'connect allowed',
      'socks5 allowed',
      'socks5 allowed',
    ]);
  });

  it('curl gets nothing else', async () => {
    await start();
    const tricks = [
      ['http://evil.test/'],
      ['https://evil.test/'],
      ['http://127.0.0.1/'],
      ['http://[::1]/'],
      ['http://2130706433/'],
      ['http://169.254.169.254/latest/meta-data/'],
      ['-H', 'Host: evil.test', 'http://allowed.test/'],
      ['--connect-to', 'evil.test:443:allowed.test:443', '-k', 'https://evil.test/'],
      ['-p', '-H', 'Host: evil.test', 'http://allowed.test/'],
      [
        '--proxy',
        `socks5://127.0.0.1:${bench.port}`,
        '--resolve',
        'allowed.test:80:10.0.0.1',
        'http://allowed.test/',
      ],
      ['--proxy', `socks4a://127.0.0.1:${bench.port}`, 'http://allowed.test/'],
      ['--http2-prior-knowledge', '--proxy', `socks5h://127.0.0.1:${bench.port}`, 'http://allowed.test/'],
    ];
    for (const args of tricks) expect(await curl(...args)).not.toContain('X-Upstream');
    expect(bench.proxy.summary()).toMatchObject({ allowed: 0, denied: tricks.length });
    expect(bench.sent()).toBe(0);
  });

  it('curl follows a redirect only to what is allowed', async () => {
    await start();
    upstream.tricks.push((_, response) => response.writeHead(302, { location: 'http://evil.test/' }).end());
    expect(await curl('--location', 'http://allowed.test/')).toContain('X-CSC-Egress: not_listed');
    upstream.tricks.push((_, response) => response.writeHead(302, { location: 'https://other.test/' }).end());
    expect(await curl('--location', 'http://allowed.test/')).toContain('X-Upstream: yes');
  });

  it('Node’s own clients find the proxy', async () => {
    await start();
    const program = `
      const { get } = require('node:http');
      const show = (name) => (answer) => console.log(answer.resume().headers[name]);
      for (const scheme of ['http', 'https']) fetch(scheme + '://allowed.test/').then(async (answer) => {
        await answer.text();
        console.log(answer.headers.get('x-upstream'));
      });
      get('http://allowed.test/', show('x-upstream'));
      get('http://evil.test/', show('x-csc-egress'));`;
    const env = { NODE_EXTRA_CA_CERTS: join(directory, 'ca.pem'), ...proxyEnvironment(bench.port) };
    const { stdout } = await run(process.execPath, ['-e', program], { env });
    expect(stdout.trim().split('\n').sort()).toEqual(['not_listed', 'yes', 'yes', 'yes']);
  });
});

describe('a WebSocket', () => {
  const key = 'dGhlIHNhbXBsZSBub25jZQ==';
  const handshake = (url: string, host: string, ...more: string[]) =>
    [
      `GET ${url} HTTP/1.1`,
      ...[
        `Host: ${host}`,
        'Connection: keep-alive, Upgrade',
        'Upgrade: websocket',
        `Sec-WebSocket-Key: ${key}`,
      ],
      ...['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Protocol: a', ...more, '', ''],
    ].join('\r\n');
  const agreed = (accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=') =>
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
  const heard: string[] = [];
  let server: Server;

  /** Answers so, and sends back all that comes behind the first head. */
  async function serve(answer: string): Promise<void> {
    heard.length = 0;
    server = createServer((socket) => {
      let isOpen = false;
      socket
        .on('error', () => {})
        .on('data', (data: Buffer) => {
          heard.push(data.toString('latin1'));
          socket.write(isOpen ? `echo ${data}` : `${answer}first`);
          isOpen = true;
        });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const web = (server.address() as AddressInfo).port;
    await start({ upstream: { ...upstream, web } });
  }
  afterEach(() => server.close());

  it.each([
    ['by its URI', [handshake('http://allowed.test/chat?a', 'allowed.test')], 'http'],
    [
      'through CONNECT',
      ['CONNECT allowed.test:80 HTTP/1.1\r\n\r\n', 20, handshake('/chat?a', 'allowed.test')],
      'connect',
    ],
    [
      'through SOCKS5',
      [socksHello, socksConnect('allowed.test', 80), 20, handshake('/chat?a', 'allowed.test')],
      'socks5',
    ],
  ])('is let through %s, both ways', async (_, steps, protocol) => {
    await serve(agreed());
    const text = await talk(bench.port, [
      ...steps,
      { until: /first/ },
      'GET / HTTP/1.1\r\n',
      { until: /echo/ },
      'end',
    ]);
    expect(text).toMatch(
      /HTTP\/1\.1 101 Switching Protocols\r\nSec-WebSocket-Accept: [\s\S]*\r\n\r\nfirstecho GET \/ HTTP/,
    );
    expect(heard[0]).toMatch(
      /^GET \/chat\?a HTTP\/1\.1\r\nHost: allowed\.test\r\nSec-WebSocket-Key: [\s\S]*\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n$/,
    );
    expect(bench.verdicts).toMatchObject([{ protocol, host: 'allowed.test', verdict: 'allowed' }]);
    expect(bench.faults).toEqual([]);
  });

  it.each([
    ['another host', handshake('http://allowed.test/', 'evil.test'), 403, 'host_mismatch'],
    ['a host that is not listed', handshake('http://evil.test/', 'evil.test'), 403, 'not_listed'],
  ])('is refused for %s', async (_, text, status, reason) => {
    await serve(agreed());
    expect(await talk(bench.port, [text, 'end'])).toContain(`HTTP/1.1 ${status} `);
    expect(bench.verdicts).toMatchObject([{ reason }]);
    expect(bench.sent()).toBe(0);
  });

  it.each([
    ['proves nothing', agreed('AAAAAAAAAAAAAAAAAAAAAAAAAAA='), 'bad_answer'],
    ['changes to something else', agreed().replace('websocket', 'h2c'), 'bad_answer'],
    ['says no', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HTTP/1.1 200 OK'],
  ])('gets nothing more to a server that %s', async (_, answer, shown) => {
    await serve(answer);
    const smuggled = `${handshake('http://allowed.test/', 'allowed.test')}GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n`;
    expect(await talk(bench.port, [smuggled, { until: /bad_answer|first/ }, smuggled, 'end'])).toContain(
      shown,
    );
    expect(heard.join('')).not.toContain('evil.test');
    expect(bench.faults).toEqual([]);
  });

  it('is found by the client that Node.js has', async () => {
    await serve('');
    server.removeAllListeners('connection').on('connection', (socket: Socket) => {
      socket
        .on('error', () => {})
        .once('data', (data: Buffer) => {
          const [, asked = ''] = /Sec-WebSocket-Key: (.*)\r\n/i.exec(data.toString('latin1')) ?? [];
          const accept = createHash('sha1')
            .update(`${asked}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
            .digest('base64');
          socket.write(Buffer.concat([Buffer.from(agreed(accept)), Buffer.from('\x81\x02hi', 'latin1')]));
        });
    });
    const program = `
      const socket = new WebSocket('ws://allowed.test/');
      socket.onerror = (event) => { console.log('error', event.message); process.exit(); };
      socket.onmessage = ({ data }) => { console.log(data); process.exit(); };`;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], {
      env: proxyEnvironment(bench.port),
    });
    expect(stdout).toBe('hi\n');
  });
});

describe('a Node.js that knows no NODE_USE_ENV_PROXY', () => {
  // It is this one, which is not told.
  const { NODE_USE_ENV_PROXY: _, ...environment } = proxyEnvironment(1);
  const run = promisify(execFile);

  it('finds the proxy by the preload: http, https and fetch, as far as both lists go', async () => {
    await start();
    const preload = join(directory, 'node-proxy.cjs');
    writeFileSync(preload, proxyFiles(bench.port, [])[0]?.content ?? '');
    const program = `
      const say = (what) => (answer) => console.log(what, answer.headers['x-upstream'] || answer, answer.resume && answer.resume() && '');
      const { get } = require('node:http');
      const over = require('node:https').get;
      get('http://allowed.test/', say('http')).on('error', say('http'));
      over('https://allowed.test/', say('https')).on('error', say('https'));
      over('https://evil.test/', say('evil')).on('error', (error) => console.log('evil', error.message));
      const ask = async (url) => {
        try { console.log(url, (await fetch(url)).headers.get('x-upstream')); }
        catch (error) { console.log(url, error.cause.message); }
      };
      for (const url of ['http://allowed.test/', 'https://allowed.test/', 'https://evil.test/']) ask(url);`;
    const proxy = `http://127.0.0.1:${bench.port}`;
    const env = {
      ...environment,
      HTTP_PROXY: proxy,
      NODE_EXTRA_CA_CERTS: join(directory, 'ca.pem'),
      NODE_OPTIONS: nodeOptions('--no-warnings').replace(/--require=.*/, `--require=${preload}`),
    };
    const { stdout } = await run(process.execPath, ['-e', program], { env });
    const refused = /^csc egress: not_listed: evil\.test:443 is refused/;
    const lines = stdout
      .trim()
      .split('\n')
      .sort()
      .map((line) => line.trim());
    expect(lines).toEqual([
      expect.stringMatching(/^evil csc egress: not_listed/),
      'http yes',
      'http://allowed.test/ yes',
      'https yes',
      'https://allowed.test/ yes',
      expect.stringMatching(/^https:\/\/evil.test\/ csc egress: not_listed/),
    ]);
    expect(lines[0]?.slice(5)).toMatch(refused);
    expect(bench.verdicts.map(({ protocol }) => protocol)).toEqual(Array(6).fill('connect'));
  });
});

async function open(port: number): Promise<Socket> {
  const socket = connectTo({ port, host: '127.0.0.1' });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return socket.on('error', () => undefined);
}

// A TLS connection through CONNECT, its handshake done.
async function openTls(name: string): Promise<{ readonly tls: TLSSocket; readonly raw: Socket }> {
  const raw = await open(bench.port);
  raw.write(`CONNECT ${name}:443 HTTP/1.1\r\n\r\n`);
  await new Promise((resolve) => raw.once('data', resolve));
  const tls = connectTls({ socket: raw, servername: name, ca: upstream.ca });
  await new Promise((resolve, reject) => tls.once('secureConnect', resolve).once('error', reject));
  return { tls, raw };
}

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}
