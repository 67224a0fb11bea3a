import fc from 'fast-check';

/** What one client sends, what its server answers, and how each of them leaves. Bytes are latin1 text. */
export interface FuzzCase {
  readonly client: Words;
  readonly server: Words;
}

export interface Words {
  /** Sent one after the other, each in a segment of its own as far as the network keeps them apart. */
  readonly segments: readonly string[];
  readonly leaves: 'end' | 'destroy' | 'reset' | 'stay';
}

/** The name that every case has to itself, so that it is known whose server was reached. */
export const hostOf = (index: number): string => `h${index}.test`;

const weighed = <T>(...choices: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<T>])[]) =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })));

const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const bytes = (maxLength: number) => fc.array(byte, { maxLength }).map((all) => all.join(''));
const printable = fc.stringMatching(/^[a-zA-Z0-9 .;=/-]{0,12}$/);
/** Text with what no text should have in it, now and then. */
const text = weighed(
  [4, printable],
  [1, bytes(8)],
  [1, fc.constantFrom('\x01', '\0', '\x1b[2J', '\x7f', '\xff')],
);
const token = weighed([5, fc.stringMatching(/^[A-Za-z][A-Za-z-]{0,8}$/)], [1, text]);
const lineEnd = weighed([20, fc.constant('\r\n')], [1, fc.constantFrom('\n', '\r', '\r\r\n', '', ' \r\n')]);

const join = (...parts: readonly fc.Arbitrary<string>[]) => fc.tuple(...parts).map((all) => all.join(''));
const some = (part: fc.Arbitrary<string>, maxLength: number) =>
  fc.array(part, { maxLength }).map((all) => all.join(''));

const size = weighed(
  [4, fc.integer({ min: 0, max: 20 }).map((length) => length.toString(16))],
  [1, fc.constantFrom('ZZ', '-1', '+2', '0x2', 'ffffffffffffffffff', '', ' 2', '2;a="b', '2;\x01')],
);
const trailer = join(token, fc.constant(': '), text, lineEnd);
const chunk = join(size, lineEnd, bytes(20), lineEnd);
const chunks = join(some(chunk, 3), fc.constantFrom('0\r\n', '0\r\n\r\n', ''), some(trailer, 2), lineEnd);
const header = join(
  token,
  weighed([6, fc.constant(': ')], [1, fc.constantFrom(' : ', ':', '', '\t:')]),
  text,
  lineEnd,
);
const oddHeader = fc.constantFrom(
  ...[
    'Connection: close',
    'Connection: keep-alive, X-A',
    'Connection: upgrade',
    'Upgrade: websocket',
    'Upgrade: h2c',
  ],
  ...[
    'Expect: 100-continue',
    'Expect: something',
    'TE: trailers',
    'Trailer: X',
    'Keep-Alive: timeout=1',
    'Via: 1.1 a',
  ],
  ...[
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding: identity',
    'Proxy-Authorization: Basic eA==',
    'X: a\r\n b',
  ],
);
const headers = some(weighed([3, header], [2, oddHeader.map((line) => `${line}\r\n`)]), 5);
const framed = weighed(
  [3, fc.constant('\r\n')],
  [2, bytes(20).map((body) => `Content-Length: ${body.length}\r\n\r\n${body}`)],
  [
    1,
    join(fc.constantFrom('0', '5', '-1', '+3', '3, 3', '99999999999999999999', 'a'), bytes(9)).map(
      (it) => `Content-Length: ${it}\r\n\r\n`,
    ),
  ],
  [2, chunks.map((body) => `Transfer-Encoding: chunked\r\n\r\n${body}`)],
  [1, chunks.map((body) => `Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n${body}`)],
);

const places = (own: string) =>
  weighed(
    [8, fc.constant(own)],
    [
      1,
      fc.constantFrom(
        'evil.test',
        `${own}.evil.test`,
        'evil.test:80',
        `${own}@evil.test`,
        `evil.test@${own}`,
      ),
    ],
    [
      1,
      fc.constantFrom(
        '127.0.0.1',
        '[::1]',
        '0x7f.1',
        'loop.test',
        `${own}.`,
        own.toUpperCase(),
        `${own}:0`,
        '',
        `${own}:22`,
      ),
    ],
    [1, text],
  );
const method = weighed(
  [6, fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS')],
  [1, fc.constantFrom('CONNECT', 'PRI', 'TRACE', 'M-SEARCH', 'get')],
  [1, token],
);
const path = weighed(
  [4, fc.constant('/')],
  [1, fc.constantFrom('', '/a?b#c', '//evil.test/', '*', '/%00')],
  [1, text.map((it) => `/${it}`)],
);
const scheme = weighed(
  [8, fc.constant('http://')],
  [1, fc.constantFrom('https://', '', 'ftp://', 'http:/', 'HTTP://', '//')],
);
const version = weighed(
  [9, fc.constant(' HTTP/1.1')],
  [2, fc.constantFrom(' HTTP/1.0', ' HTTP/2.0', ' HTTP/0.9', '', ' HTTP/1.1 x')],
);
const hostHeader = (own: string) =>
  weighed(
    [7, places(own).map((it) => `Host: ${it}\r\n`)],
    [1, fc.constantFrom('', `Host: ${own}\r\nHost: evil.test\r\n`, `Host:\t${own}\r\n`)],
  );
const request = (own: string) =>
  join(
    method,
    fc.constant(' '),
    scheme,
    places(own),
    path,
    version,
    lineEnd,
    hostHeader(own),
    headers,
    framed,
  );

const connect = (own: string, hello: fc.Arbitrary<string>) =>
  join(
    fc.constant('CONNECT '),
    places(own).chain((place) =>
      fc.constantFrom(`${place}:443`, `${place}:443`, `${place}:443`, place, `${place}:80`),
    ),
    version,
    lineEnd,
    fc.constantFrom('', `Host: ${own}:443\r\n`, `Host: ${own}\r\n`, 'Host: evil.test:443\r\n'),
    weighed([4, fc.constant('\r\n')], [1, headers.map((it) => `${it}\r\n`)]),
    weighed(
      [6, hello],
      [4, some(request(own), 2)],
      [1, bytes(60)],
      [1, fc.constant('CONNECT evil.test:443 HTTP/1.1\r\n\r\n')],
    ),
  );

const socks = (own: string, hello: fc.Arbitrary<string>) =>
  join(
    weighed(
      [6, fc.constant('\x05\x01\0')],
      [1, fc.constantFrom('\x05\0', '\x05\x02\x02\x80', '\x04\x01\0\x50', '\x05\xff\0')],
      [1, bytes(6)],
    ),
    weighed(
      [6, fc.constant('\x05\x01\0')],
      [1, fc.constantFrom('\x05\x02\0', '\x05\x03\0', '\x05\x01\x01', '\x06\x01\0')],
    ),
    weighed(
      [8, places(own).map((place) => `\x03${String.fromCharCode(place.length & 255)}${place}`)],
      [1, fc.constantFrom('\x01\x7f\0\0\x01', `\x04${'\0'.repeat(15)}\x01`, '\x02', `\x03\xff${own}`)],
    ),
    fc.constantFrom('\x01\xbb', '\0\x50', '\0\0', '\xff\xff', '\x01'),
    weighed([3, hello], [3, request(own)], [1, bytes(40)]),
  );

const record = (hello: string) =>
  weighed(
    [5, fc.constant(hello)],
    [2, fc.integer({ min: 0, max: hello.length }).map((at) => hello.slice(0, at))],
    [1, bytes(40).map((body) => `\x16\x03\x01\0${String.fromCharCode(body.length)}${body}`)],
    [
      1,
      fc.constantFrom(
        '\x15\x03\x01\0\x02\x02\x28',
        '\x16\x03\x01\0\0',
        '\x16\x03\x01\xff\xff',
        `${hello}${hello}`,
        '\x80\x2e\x01\0\x02',
      ),
    ],
  );

/** Changes good bytes here and there: what a structure does not think of. */
const damaged = (whole: fc.Arbitrary<string>) =>
  fc
    .tuple(
      whole,
      fc.array(fc.tuple(fc.nat(), fc.constantFrom('set', 'cut', 'add', 'twice'), byte), { maxLength: 3 }),
    )
    .map(([good, changes]) =>
      changes.reduce((now, [where, how, letter]) => {
        const at = now.length === 0 ? 0 : where % now.length;
        if (how === 'cut') return now.slice(0, at);
        if (how === 'twice') return now.slice(0, at) + now.slice(Math.max(0, at - 9));
        return now.slice(0, at) + letter + now.slice(how === 'set' ? at + 1 : at);
      }, good),
    );

const agreement =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi';

const status = weighed(
  [6, fc.constantFrom('200', '204', '304', '301', '500')],
  [2, fc.constantFrom('100', '101', '103', '199', '099', '1000', '20', '999', '-1', 'abc', '')],
);
const statusLine = join(
  weighed(
    [8, fc.constant('HTTP/1.1 ')],
    [1, fc.constantFrom('HTTP/1.0 ', 'HTTP/9.9 ', 'http/1.1 ', 'ICY ', '')],
  ),
  status,
  fc.constantFrom(' ', '', '  '),
  text,
  lineEnd,
);
const reply = weighed(
  [
    8,
    join(
      some(fc.constantFrom('HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early\r\nLink: a\r\n\r\n'), 2),
      statusLine,
      headers,
      framed,
    ),
  ],
  [
    1,
    fc.constantFrom(
      '',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n',
      '\x15\x03\x01\0\x02\x02\x28',
    ),
  ],
  [1, bytes(80)],
  [2, fc.constant(agreement)],
  [1, fc.constant(`HTTP/1.1 200 OK\r\n${'X: a\r\n'.repeat(12_000)}\r\n`)],
);

const words = (whole: fc.Arbitrary<string>): fc.Arbitrary<Words> =>
  fc.record({
    segments: fc
      .tuple(weighed([4, whole], [1, damaged(whole)]), fc.array(fc.nat({ max: 400 }), { maxLength: 2 }))
      .map(([all, cuts]) => cut(all, cuts)),
    leaves: weighed(
      [6, fc.constant('end' as const)],
      [2, fc.constantFrom('destroy' as const, 'reset' as const)],
      [1, fc.constant('stay' as const)],
    ),
  });

function cut(whole: string, cuts: readonly number[]): string[] {
  const at = [0, ...cuts.map((one) => Math.min(one, whole.length)).sort((a, b) => a - b), whole.length];
  return at.slice(1).map((end, index) => whole.slice(at[index], end));
}

/** The handshake of a WebSocket, and a frame that some may take for a request. */
function webSocket(url: string, own: string): string {
  const head = `GET ${url} HTTP/1.1\r\nHost: ${own}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
  const rest = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  return `${head}${rest}\x81\x05hello`;
}

function plainRequest(method: string, own: string): string {
  const body = method === 'POST' ? 'Content-Length: 2\r\n\r\nhi' : '\r\n';
  return `${method} http://${own}/ HTTP/1.1\r\nHost: ${own}\r\nConnection: close\r\n${body}`;
}

/**
 * A case of the client whose own host is `hostOf(index)`: requests of HTTP (one, or several at once), CONNECT, SOCKS5 and
 * TLS, answers of HTTP, whole, wrong in one place, damaged, or nothing but bytes.
 * @param hello a good ClientHello for that host, and `evil` one for another; latin1
 */
export function fuzzCases(index: number, hellos: { readonly hello: string; readonly evil: string }) {
  const own = hostOf(index);
  const first = weighed([4, record(hellos.hello)], [1, record(hellos.evil)]);
  // Nothing is wrong with these, so that it is the server's words that count.
  const plain = fc.constantFrom('GET', 'HEAD', 'POST').map((it) => plainRequest(it, own));
  const way = `\x05\x01\0\x05\x01\0\x03${String.fromCharCode(own.length)}${own}`;
  const tunnelled = fc.constantFrom(
    `CONNECT ${own}:443 HTTP/1.1\r\nHost: ${own}:443\r\n\r\n${hellos.hello}`,
    `${way}\x01\xbb${hellos.hello}`,
    `${way}\0\x50${plainRequest('GET', own)}`,
    `${way}\0\x50${webSocket('/', own)}`,
    `CONNECT ${own}:80 HTTP/1.1\r\nHost: ${own}:80\r\n\r\n${webSocket('/', own)}`,
    webSocket(`http://${own}/`, own),
  );
  const said = weighed(
    [10, plain],
    [3, tunnelled],
    [5, request(own)],
    [2, fc.array(request(own), { minLength: 2, maxLength: 4 }).map((all) => all.join(''))],
    [3, connect(own, first)],
    [3, socks(own, first)],
    [1, first],
    [1, bytes(60)],
  );
  return fc.record({ client: words(said), server: words(reply) });
}
