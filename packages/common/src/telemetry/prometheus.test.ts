import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createInstruments } from './instruments.ts';
import { createShownMetrics, type ShownMetrics } from './prometheus.ts';

const opened: ShownMetrics[] = [];
afterEach(async () => {
  for (const it of opened.splice(0)) await it.close();
});

const short = { headMs: 60_000, wholeMs: 60_000, retryMs: 5 };

function open(times = short): ShownMetrics {
  const shown = createShownMetrics('test', '0', times);
  opened.push(shown);
  return shown;
}

/** What a service logs of its metrics. */
class Said {
  readonly lines: string[] = [];
  #wake = (): void => undefined;
  readonly info = (fields: object, message: string): void => this.#say({ ...fields, message });
  readonly error = (fields: object, message: string): void => this.#say({ ...fields, message });

  #say(line: object): void {
    this.lines.push(JSON.stringify(line));
    this.#wake();
  }

  async until(text: string): Promise<void> {
    while (!this.lines.some((it) => it.includes(text)))
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

/** The whole answer to what is sent on a connection of its own. */
async function answerTo(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.write(request);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

const get = (path: string, host = '127.0.0.1:9464', method = 'GET'): string =>
  `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

describe('metrics that can be read', () => {
  it('are given to GET /metrics, and to nothing else', async () => {
    const shown = open();
    const told = createInstruments(shown.meter, { csc_tries_total: { kind: 'counter', means: 'Tries' } });
    told.add('csc_tries_total', {}, 2);
    const port = (await shown.listen({ address: '127.0.0.1:0' }, new Said())) ?? 0;
    expect(await answerTo(port, get('/metrics'))).toMatch(/^HTTP\/1.1 200 OK[\s\S]*\ncsc_tries_total 2\n/);
    expect(await answerTo(port, get('/'))).toMatch(/^HTTP\/1.1 404 /);
    expect(await answerTo(port, get('/metrics', undefined, 'POST'))).toMatch(/^HTTP\/1.1 405 /);
  });

  it('are not given to a page whose own name means this address', async () => {
    const port = (await open().listen({ address: '127.0.0.1:0' }, new Said())) ?? 0;
    expect(await answerTo(port, get('/metrics', 'rebound.example:9464'))).toMatch(/^HTTP\/1.1 403 /);
    for (const host of ['localhost', '127.0.0.1:1', '[::1]:9464'])
      expect(await answerTo(port, get('/metrics', host)), host).toMatch(/^HTTP\/1.1 200 /);
  });

  it('are held up by nobody who does not end his request', async () => {
    const port =
      (await open({ ...short, headMs: 50, wholeMs: 50 }).listen({ address: '127.0.0.1:0' }, new Said())) ?? 0;
    expect(await answerTo(port, 'GET /metrics HTTP/1.1\r\nHost: ')).toBe('');
    expect(await answerTo(port, get('/metrics', `127.0.0.1\r\nX-Long: ${'x'.repeat(10_000)}`))).toMatch(
      /^HTTP\/1.1 431 /,
    );
  });

  it('wait for an address that is taken, and the service goes on', async () => {
    const first = open();
    const address = `127.0.0.1:${await first.listen({ address: '127.0.0.1:0' }, new Said())}`;
    const second = open();
    const said = new Said();
    expect(await second.listen({ address }, said)).toBeUndefined();
    expect(said.lines[0]).toContain('no metrics: cannot listen');
    await first.close();
    await said.until('metrics can be read');
  });

  it('of labels that grow are bounded, with what is one too many in one series', async () => {
    const shown = open();
    const told = createInstruments(shown.meter, {
      csc_calls_total: {
        kind: 'counter',
        means: 'Calls',
        labels: { who: { means: 'a caller', most: 2 }, how: { means: 'how', values: ['well', 'badly'] } },
      },
    });
    for (const who of ['a', 'b', 'c', 'd', 'a'.repeat(1000)])
      told.add('csc_calls_total', { who, how: who === 'b' ? 'as nobody expects' : 'well' });
    const lines = (await shown.text()).split('\n').filter((line) => line.startsWith('csc_calls_total{'));
    expect(lines).toEqual([
      'csc_calls_total{who="a",how="well"} 1',
      'csc_calls_total{who="b",how="other"} 1',
      'csc_calls_total{who="other",how="well"} 3',
    ]);
  });
});
