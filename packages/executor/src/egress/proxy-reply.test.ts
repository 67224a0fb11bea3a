import { validateHeaderName, validateHeaderValue } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAllowList } from './allow-list.ts';
import { toRaw } from './http-headers.ts';
import { createEgressProxy } from './proxy.ts';
import { get, play } from './testing-play.ts';
import { type RawServer, startRawServer } from './testing-raw-server.ts';

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
    const raw = toRaw(odd.flatMap((letter) => [[`x${letter}`, 'a'] as const, ['y', `b${letter}`] as const]));
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
