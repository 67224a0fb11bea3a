import {
  addExtension,
  deadAddress,
  greaseEch,
  makeHello,
  type Step,
  silentAddress,
  startBench,
  talk,
  type Upstream,
} from './bench.ts';

// What names lead to in these tests; what is not here does not resolve.
const names: Readonly<Record<string, readonly string[]>> = {
  'allowed.test': ['93.184.216.34'],
  'evil.test': ['93.184.216.66'],
  'allowed.test.evil.test': ['93.184.216.66'],
  'notallowed.test': ['93.184.216.66'],
  'wild.test': ['93.184.216.34'],
  'a.b.wild.test': ['93.184.216.34'],
  'policy-only.test': ['93.184.216.34'],
  'ceiling-only.test': ['93.184.216.34'],
  'loop.test': ['127.0.0.1'],
  'loop6.test': ['::1'],
  'mapped.test': ['::ffff:127.0.0.1'],
  'zero.test': ['0.0.0.0'],
  'meta.test': ['169.254.169.254'],
  'meta6.test': ['fd00:ec2::254'],
  'inside.test': ['10.0.0.7'],
  'nat64.test': ['64:ff9b::a00:7'],
  'mixed.test': ['93.184.216.34', '10.0.0.7'],
  'named.test': ['10.9.1.2'],
  'half-named.test': ['10.8.1.2'],
  localhost: ['127.0.0.1', '::1'],
  'ech.test': ['93.184.216.34'],
  'half-ech.test': ['93.184.216.34'],
  'tcp.test': ['93.184.216.34'],
  'half-tcp.test': ['93.184.216.34'],
  'loop-tcp.test': ['127.0.0.1'],
  'dead.test': [deadAddress],
  'silent.test': [silentAddress],
};
const both = [...Object.keys(names), 'gone.test', '*.wild.test', 'allowed.test:8080', '10.9.0.0/16'].filter(
  (name) =>
    ![
      ...['evil.test', 'allowed.test.evil.test', 'notallowed.test', 'wild.test', 'a.b.wild.test'],
      ...['ech.test', 'half-ech.test', 'tcp.test', 'half-tcp.test'],
    ].includes(name),
);
const ech = (host: string) => ({ host, ech: 'allow' as const });
const policy = [
  ...both.filter((name) => name !== 'ceiling-only.test'),
  ...['tcp.test:tcp:22', 'half-tcp.test:tcp:22', 'loop-tcp.test:tcp:22'],
  ...['10.8.0.0/16', ech('ech.test'), ech('half-ech.test:443')],
];
const ceiling = [
  ...both.filter((name) => name !== 'policy-only.test'),
  ...['tcp.test:tcp:22', 'half-tcp.test:22', 'loop-tcp.test:tcp:22'],
  ...[ech('ech.test:443'), 'half-ech.test'],
];

/** What came of what a client sent. */
export interface Outcome {
  /** Of the answers, in order. */
  readonly statuses: readonly number[];
  /** `PROTOCOL HOST:PORT REASON`, with `ok` for what was allowed. */
  readonly verdicts: readonly string[];
  /** Whether a byte went to any server. */
  readonly reached: boolean;
  readonly dialled: readonly string[];
  readonly text: string;
}

/** Plays a client against a proxy of its own. */
export async function play(upstream: Upstream, steps: readonly Step[]): Promise<Outcome> {
  // So that a tunnel that should not be open ends by itself.
  const limits = { headerMs: 250, connectMs: 250, idleMs: 1000 };
  const resolve = (name: string) => Promise.resolve(names[name] ?? []);
  const bench = await startBench({ lists: [policy, ceiling], resolve, upstream, limits });
  const text = await talk(bench.port, steps);
  await bench.close();
  const { verdicts, dialled, faults } = bench;
  if (faults.length > 0)
    throw new AggregateError(faults, 'the proxy failed at what a client or a server said');
  return {
    statuses: Array.from(text.matchAll(/HTTP\/1\.1 (\d{3}) /g), ([, status]) => Number(status)),
    verdicts: verdicts.map(
      ({ protocol, host, port, reason }) => `${protocol} ${host}:${port} ${reason ?? 'ok'}`,
    ),
    reached: bench.sent() > 0,
    dialled,
    text,
  };
}

/** A request, by whatever is taken for a URI. */
export const get = (url: string, host: string, ...more: readonly string[]): string =>
  [`GET ${url} HTTP/1.1`, `Host: ${host}`, ...more, '', ''].join('\r\n');
/** The head of a CONNECT. */
export const connect = (authority: string, host = authority): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** The ClientHellos that the tests send: by the name that they ask for. */
export async function makeHellos() {
  return {
    allowed: await makeHello('allowed.test'),
    upper: await makeHello('ALLOWED.Test'),
    dotted: await makeHello('allowed.test.'),
    evil: await makeHello('evil.test'),
    wild: await makeHello('b.wild.test'),
    none: await makeHello(),
    encrypted: (name: string, type = 0xfe0d, data = greaseEch) =>
      makeHello(name).then((hello) => addExtension(hello, type, data)),
  };
}
