import { createPrivateKey } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { ServerHttp2Stream } from 'node:http2';
import { createServer, connect as dial, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, createSecureContext } from 'node:tls';
import {
  type ChannelCredentials,
  credentials,
  Metadata,
  Server,
  type ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CscError } from '../errors/index.ts';
import { createDevelopmentPki, generateTlsKey, issueCertificate, toCertificate } from '../pki/index.ts';
import { readChannelCredentials } from './channel-credentials.ts';
import { fromServiceError } from './from-service-error.ts';
import {
  GateClient,
  type GateServer,
  GateService,
  type GetKeysRequest,
  type GetKeysResponse,
  KeyRole,
} from './generated.ts';
import { channelOptions, maxMessageBytes, serverOptions, streamWindow } from './options.ts';
import { identityOfCall } from './peer-identity.ts';
import { channelTo } from './proxy.ts';
import { readServerCredentials } from './server-credentials.ts';
import { toServiceError } from './service-error.ts';
import { widenReceiveWindow } from './session.ts';
import { type TlsFiles, type TlsPaths, TlsSource } from './tls-files.ts';
import { explainDrop } from './unaccepted.ts';

const dir = mkdtempSync(join(tmpdir(), 'csc-tls-'));
const pki = join(dir, 'pki');
const otherPki = join(dir, 'other');
const ended: (() => void)[] = [];

beforeAll(async () => {
  await createDevelopmentPki(pki, { clients: ['ci'], executors: ['e1'] });
  await createDevelopmentPki(otherPki, { clients: ['ci'], executors: ['e1'] });
});
afterEach(() => {
  for (const end of ended.splice(0)) end();
});
afterAll(() => rmSync(dir, { recursive: true }));

function files(name: string, from = pki): TlsPaths {
  return { ca: join(from, 'ca.pem'), cert: join(from, `${name}.pem`), key: join(from, `${name}.key`) };
}

/** A certificate of the PKI's own CA that createDevelopmentPki would not make. */
async function issue(
  name: string,
  use: 'server' | 'client',
  uri: string | undefined,
  hosts: string[] = [],
  life = { begins: -60_000, ends: 60_000 },
): Promise<TlsPaths> {
  const key = generateTlsKey();
  const certificate = toCertificate(readFileSync(join(pki, 'ca.pem'), 'utf8'));
  const ca = { certificate, key: createPrivateKey(readFileSync(join(pki, 'ca.key'))) };
  const now = Date.now();
  const validity = { notBefore: new Date(now + life.begins), notAfter: new Date(now + life.ends) };
  const request = { commonName: name, use, hosts, ...(uri === undefined ? {} : { uri }), ...validity };
  writeFileSync(join(pki, `${name}.pem`), await issueCertificate(request, key, ca));
  writeFileSync(join(pki, `${name}.key`), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return files(name);
}

/** A gate that answers GetKeys with the caller's identity, or with its failure. */
async function listen(serverCredentials: ServerCredentials): Promise<string> {
  const server = new Server(serverOptions);
  const getKeys: GateServer['getKeys'] = (call, reply) => {
    try {
      reply(null, { keys: [keyNamed(identityOfCall(call).uri)] });
    } catch (error) {
      reply(toServiceError(error));
    }
  };
  server.addService({ getKeys: GateService.getKeys }, { getKeys });
  return bind(server, serverCredentials);
}

async function bind(
  server: Server,
  serverCredentials = readServerCredentials(files('gate')),
): Promise<string> {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', serverCredentials, (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  ended.push(() => server.forceShutdown());
  return `127.0.0.1:${port}`;
}

function keyNamed(keyId: string): GetKeysResponse['keys'][number] {
  const none = { notBefore: undefined, notAfter: undefined, revokedAt: undefined };
  return { keyId, publicKey: Buffer.alloc(0), owner: '', role: KeyRole.UNSPECIFIED, ...none };
}

async function whoAmI(address: string, channel: ChannelCredentials): Promise<string> {
  const client = new GateClient(address, channel, channelOptions);
  ended.push(() => client.close());
  return new Promise<string>((resolve, reject) => {
    const request: GetKeysRequest = { keyIds: [] };
    client.getKeys(request, new Metadata(), { deadline: Date.now() + 10_000 }, (error, response) => {
      if (error === null) resolve(response.keys[0]?.keyId ?? '');
      else reject(fromServiceError(error));
    });
  });
}

async function refusal(address: string, channel: ChannelCredentials): Promise<string> {
  try {
    return `answered: ${await whoAmI(address, channel)}`;
  } catch (error) {
    return error instanceof CscError ? error.code : 'another error';
  }
}

describe('mutual TLS', () => {
  it('tells the gate who calls, by URI, role and name', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    expect(await whoAmI(address, readChannelCredentials(files('client-ci')))).toBe(
      'spiffe://csc.local/client/ci',
    );
    expect(await whoAmI(address, readChannelCredentials(files('executor-e1')))).toBe(
      'spiffe://csc.local/executor/e1',
    );
  });

  it('tells apart clients that call at the same time and again', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const ask = async (name: string): Promise<string> => whoAmI(address, readChannelCredentials(files(name)));
    const names = ['client-ci', 'executor-e1', 'client-ci', 'executor-e1'];
    const answers = await Promise.all(names.map(ask));
    expect(answers.map((uri) => uri.split('/').slice(-2).join('-'))).toEqual(names);
  });

  it('gives every call of a connection the same identity', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const client = new GateClient(address, readChannelCredentials(files('client-ci')), channelOptions);
    ended.push(() => client.close());
    const ask = (): Promise<string> =>
      new Promise((resolve, reject) => {
        client.getKeys({ keyIds: [] }, (error, it) =>
          error ? reject(error) : resolve(it.keys[0]?.keyId ?? ''),
        );
      });
    const uri = 'spiffe://csc.local/client/ci';
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([uri, uri, uri]);
    expect(await ask()).toBe(uri);
  });

  it('takes a host name as well as an address', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const port = address.split(':')[1];
    expect(await whoAmI(`localhost:${port}`, readChannelCredentials(files('client-ci')))).toContain('/ci');
  });

  it('sends no IP address as a server name, and still checks the certificate for it', async () => {
    const warnings: string[] = [];
    const note = (warning: Error & { code?: string }): void =>
      void warnings.push(warning.code ?? warning.name);
    process.on('warning', note);
    ended.push(() => process.off('warning', note));
    const elsewhere = await issue('other-address', 'server', 'spiffe://csc.local/gate/gate', [
      '127.0.0.2',
      'localhost',
    ]);
    const address = await listen(readServerCredentials(elsewhere));
    expect(await refusal(address, readChannelCredentials(files('client-ci')))).toBe('GATE_UNREACHABLE');
    expect(
      await refusal(address.replace('127.0.0.1', 'localhost'), readChannelCredentials(files('client-ci'))),
    ).toContain('/ci');
    expect(warnings).not.toContain('DEP0123');
  });

  it('refuses a client without a certificate', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const ca = readFileSync(join(pki, 'ca.pem'));
    expect(await refusal(address.replace('127.0.0.1', 'localhost'), credentials.createSsl(ca))).toBe(
      'GATE_UNREACHABLE',
    );
    expect(await refusal(address, credentials.createInsecure())).toBe('GATE_UNREACHABLE');
  });

  it('refuses a client of another CA', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const mixed = { ...files('client-ci', otherPki), ca: join(pki, 'ca.pem') };
    expect(await refusal(address, readChannelCredentials(mixed))).toBe('GATE_UNREACHABLE');
  });

  it("refuses the gate's own certificate as a client's", async () => {
    const address = await listen(readServerCredentials(files('gate')));
    expect(await refusal(address, readChannelCredentials(files('gate')))).toBe('GATE_UNREACHABLE');
  });

  it('refuses a client whose certificate names no party, or two', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const none = await issue('nobody', 'client', undefined, ['spiffe.csc.local']);
    expect(await refusal(address, readChannelCredentials(none))).toBe('CREDENTIALS_INVALID');
    const other = await issue('other', 'client', 'https://csc.local/client/ci');
    expect(await refusal(address, readChannelCredentials(other))).toBe('CREDENTIALS_INVALID');
  });

  it('refuses a gate of another CA', async () => {
    const address = await listen(readServerCredentials(files('gate', otherPki)));
    expect(await refusal(address, readChannelCredentials(files('client-ci')))).toBe('GATE_UNREACHABLE');
  });

  it('refuses a gate under another host name', async () => {
    const elsewhere = await issue('elsewhere', 'server', 'spiffe://csc.local/gate/gate', [
      'gate.example.org',
    ]);
    const address = await listen(readServerCredentials(elsewhere));
    expect(await refusal(address, readChannelCredentials(files('client-ci')))).toBe('GATE_UNREACHABLE');
  });

  it.each(['executor-e1', 'client-ci'])("refuses the certificate of %s as the gate's", async (name) => {
    const address = await listen(readServerCredentials(files(name)));
    expect(await refusal(address, readChannelCredentials(files('client-ci')))).toBe('GATE_UNREACHABLE');
  });

  it('refuses a server of another role, for the right host and use', async () => {
    for (const uri of ['spiffe://csc.local/executor/e1', 'spiffe://csc.local/client/ci', undefined]) {
      const impostor = await issue('impostor', 'server', uri, ['localhost', '127.0.0.1']);
      const address = await listen(readServerCredentials(impostor));
      expect(await refusal(address, readChannelCredentials(files('client-ci')))).toBe('GATE_UNREACHABLE');
    }
  });

  it('takes a server of the role that is asked for', async () => {
    const executor = await issue('server-e1', 'server', 'spiffe://csc.local/executor/e1', ['127.0.0.1']);
    const address = await listen(readServerCredentials(executor));
    expect(await whoAmI(address, readChannelCredentials(files('client-ci'), { role: 'executor' }))).toContain(
      '/ci',
    );
  });

  it('speaks TLS 1.3 and nothing older, on both sides', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const port = Number(address.split(':')[1]);
    expect(await handshake(port, { minVersion: 'TLSv1.3' })).toBe('TLSv1.3');
    expect(await handshake(port, { maxVersion: 'TLSv1.2' })).toBe('refused');
    const old = await oldServer();
    expect(await refusal(`127.0.0.1:${old}`, readChannelCredentials(files('client-ci')))).toBe(
      'GATE_UNREACHABLE',
    );
  });

  it('answers MESSAGE_TOO_LARGE to a message beyond the limit', async () => {
    const address = await listen(readServerCredentials(files('gate')));
    const client = new GateClient(address, readChannelCredentials(files('client-ci')), channelOptions);
    ended.push(() => client.close());
    const error = await new Promise<unknown>((resolve) => {
      client.getKeys({ keyIds: ['x'.repeat(maxMessageBytes + 1)] }, (it) => resolve(it));
    });
    expect(fromServiceError(error).code).toBe('MESSAGE_TOO_LARGE');
  });
});

function handshake(port: number, versions: ConnectionOptions): Promise<string> {
  const { ca, cert, key } = files('client-ci');
  const pem = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
  return new Promise((resolve) => {
    const socket = connect({ ...pem, port, host: '127.0.0.1', ALPNProtocols: ['h2'], ...versions });
    socket.on('secureConnect', () => resolve(socket.getProtocol() ?? 'none'));
    socket.on('error', () => resolve('refused'));
    ended.push(() => socket.destroy());
  });
}

/** A server with the gate's certificate that speaks TLS 1.2. */
async function oldServer(): Promise<number> {
  const { TLSSocket } = await import('node:tls');
  const { cert, key } = files('gate');
  const secureContext = createSecureContext({
    cert: readFileSync(cert),
    key: readFileSync(key),
    maxVersion: 'TLSv1.2',
  });
  const server: NetServer = createServer((socket) => {
    const secured = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['h2'] });
    secured.on('error', () => socket.destroy());
  });
  ended.push(() => server.close());
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}

describe('a TLS source', () => {
  const copy = (from: TlsPaths, to: TlsPaths): void => {
    for (const name of ['ca', 'cert', 'key'] as const) copyFileSync(from[name], to[name]);
  };
  const place = (name: string): TlsPaths => {
    mkdirSync(join(dir, name));
    const paths = {
      ca: join(dir, name, 'ca.pem'),
      cert: join(dir, name, 'c.pem'),
      key: join(dir, name, 'c.key'),
    };
    return paths;
  };

  it('has a server and its clients take up new certificates, and no connection is lost', async () => {
    const [gate, client] = [place('rotated-gate'), place('rotated-client')];
    copy(files('gate'), gate);
    copy(files('client-ci'), client);
    const source = new TlsSource(gate);
    const address = await listen(readServerCredentials(source));
    const old = new GateClient(address, readChannelCredentials(files('client-ci')), channelOptions);
    ended.push(() => old.close());
    const ask = () => new Promise((resolve) => old.getKeys({ keyIds: [] }, (error) => resolve(error)));
    expect(await ask()).toBeNull();
    // Of a client that has not connected yet: it reads its files again before it does.
    const channel = readChannelCredentials(client);
    const otherGate = files('gate', otherPki);
    copy(otherGate, gate);
    copy(files('client-ci', otherPki), client);
    expect(source.looksChanged).toBe(true);
    source.prepare()?.();
    expect(source.prepare()).toBeUndefined();
    expect(await whoAmI(address, channel)).toContain('/ci');
    expect(await ask()).toBeNull();
    expect(await refusal(address, readChannelCredentials(files('client-ci')))).toBe('GATE_UNREACHABLE');
  });

  it('keeps what it has where the files cannot be used', async () => {
    const gate = place('half');
    copy(files('gate'), gate);
    const source = new TlsSource(gate, ({ own }) => {
      if (own.certificate.subject.includes('executor')) throw new CscError('CONFIG_INVALID', 'not the gate');
    });
    const address = await listen(readServerCredentials(source));
    copyFileSync(files('client-ci').cert, gate.cert);
    expect(() => source.prepare()).toThrow('is not the private key of');
    expect(source.looksChanged).toBe(false);
    copy(files('executor-e1'), gate);
    expect(() => source.prepare()).toThrow('not the gate');
    expect(await whoAmI(address, readChannelCredentials(files('client-ci')))).toContain('/ci');
  });
});

describe('a connection that the gate ends', () => {
  const explain = async (client: TlsPaths): Promise<CscError> => {
    const source = new TlsSource(client);
    const address = await listen(readServerCredentials(files('gate')));
    const error: unknown = await whoAmI(address, readChannelCredentials(source)).catch((it: unknown) => it);
    return error instanceof CscError ? explainDrop(error, source.material) : new CscError('INTERNAL', '');
  };

  it('is told as a certificate of another CA', async () => {
    const error = await explain({ ...files('client-ci', otherPki), ca: join(pki, 'ca.pem') });
    expect(error.code).toBe('CREDENTIALS_INVALID');
    expect(error.message).toMatch(/does not accept the certificate .*client-ci\.pem: it is of another CA \(/);
  });

  it('is told as a certificate for another use', async () => {
    expect((await explain(files('gate'))).message).toContain('is not for clients');
  });

  it('is left as it is where something else is the matter', () => {
    const { material } = new TlsSource(files('client-ci'));
    const refused = new CscError('GATE_UNREACHABLE', 'connect ECONNREFUSED 127.0.0.1:1');
    expect(explainDrop(refused, material)).toBe(refused);
    const dropped = new CscError('GATE_UNREACHABLE', 'read ECONNRESET');
    expect(explainDrop(dropped, material).message).toMatch(
      /client\/ci, of .*, until .*the gate's log says why/,
    );
  });

  it.each([
    ['another CA', () => files('gate', otherPki), "the gate's certificate is not of the CA"],
    [
      'another name',
      () => issue('far', 'server', 'spiffe://csc.local/gate/gate', ['far.example']),
      'is for another name: ',
    ],
  ])("says what is wrong with the gate's: %s", async (_, gate, words) => {
    const address = await listen(readServerCredentials(await gate()));
    const error: unknown = await whoAmI(address, readChannelCredentials(files('client-ci'))).catch(
      (it) => it,
    );
    expect(String(error)).toContain(words);
  });
});

describe('a host with a proxy in its environment', () => {
  const channel = readChannelCredentials;
  const way = (address: string, env: NodeJS.ProcessEnv): string =>
    channelTo(address, channel(files('client-ci')), channelOptions, env).address;

  it.each<[string, NodeJS.ProcessEnv, string]>([
    ['gate.example:7443', { https_proxy: 'http://proxy:3128' }, 'proxy:3128'],
    ['gate.example:7443', { http_proxy: 'proxy' }, 'proxy:80'],
    ['gate.example:7443', { grpc_proxy: 'http://a:1', https_proxy: 'http://b:2' }, 'a:1'],
    ['gate.example:7443', { https_proxy: '' }, 'gate.example:7443'],
    ['localhost:7443', { https_proxy: 'http://proxy:3128' }, 'localhost:7443'],
    ['127.0.0.2:7443', { grpc_proxy: 'http://proxy:3128' }, '127.0.0.2:7443'],
    ['[::1]:7443', { http_proxy: 'http://proxy:3128' }, '[::1]:7443'],
    ...['gate.example', '.example', '*.example', 'a, EXAMPLE', '*', 'gate.example:7443'].map(
      (list): [string, NodeJS.ProcessEnv, string] => [
        'gate.example:7443',
        { https_proxy: 'http://proxy:1', no_proxy: list },
        'gate.example:7443',
      ],
    ),
    ...['te.example', 'gate.example:1', 'other', '10.0.0.0/8', ''].map(
      (list): [string, NodeJS.ProcessEnv, string] => [
        'gate.example:7443',
        { https_proxy: 'http://proxy:1', NO_PROXY: list },
        'proxy:1',
      ],
    ),
    ['10.1.2.3:7443', { https_proxy: 'http://proxy:1', no_proxy: '10.0.0.0/8' }, '10.1.2.3:7443'],
    ['10.1.2.3:7443', { https_proxy: 'http://proxy:1', no_proxy: '10.1.2.0/33,1.2.3' }, 'proxy:1'],
    ['[fd00::5]:7443', { https_proxy: 'http://proxy:1', no_proxy: 'fd00::/8' }, '[fd00::5]:7443'],
  ])('dials for %s with %o to %s', (address, env, expected) => {
    expect(way(address, env)).toBe(expected);
  });

  it('refuses in words a proxy that cannot be used', () => {
    for (const https_proxy of ['socks5://user:hunter2@proxy:1', 'http://']) {
      const refused = expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(/^the variable https_proxy, .*no_proxy=gate\.example$/),
      });
      expect(() => way('gate.example:1', { https_proxy })).toThrow(refused);
    }
  });

  /** A proxy that gives each CONNECT to the same place, or answers with a status. */
  async function openProxy(port: number, status = 200): Promise<{ address: string; asked: string[] }> {
    const asked: string[] = [];
    const server = createServer((socket) => {
      socket
        .on('error', () => undefined)
        .once('data', (head) => {
          asked.push(head.toString('latin1'));
          socket.write(`HTTP/1.1 ${status} It is so\r\n\r\n`);
          if (status !== 200) return void socket.end();
          const onward = dial(port, '127.0.0.1');
          onward.on('error', () => undefined).on('close', () => socket.destroy());
          socket.pipe(onward).pipe(socket);
        });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ended.push(() => server.close());
    const at = server.address();
    return { address: `127.0.0.1:${typeof at === 'object' ? at?.port : 0}`, asked };
  }

  const ask = async (address: string, env: NodeJS.ProcessEnv): Promise<string> => {
    const route = channelTo(address, channel(files('client-ci')), channelOptions, env);
    const client = new GateClient(route.address, route.credentials, route.options);
    ended.push(() => client.close());
    return new Promise((resolve) => {
      client.getKeys({ keyIds: [] }, new Metadata(), { deadline: Date.now() + 10_000 }, (error, it) =>
        resolve(
          error === null
            ? (it.keys[0]?.keyId ?? '')
            : `${route.unreachable}: ${fromServiceError(error).message}`,
        ),
      );
    });
  };

  it('reaches the gate through it, and holds its certificate against the gate that is meant', async () => {
    const far = await issue('far-gate', 'server', 'spiffe://csc.local/gate/gate', ['gate.example']);
    const port = Number((await listen(readServerCredentials(far))).split(':')[1]);
    const { address, asked } = await openProxy(port);
    const env = { https_proxy: `http://me:it%20is@${address}` };
    expect(await ask('gate.example:7443', env)).toBe('spiffe://csc.local/client/ci');
    expect(asked[0]).toMatch(/^CONNECT gate\.example:7443 HTTP\/1\.1\r\n/);
    expect(asked[0]).toContain(`Basic ${Buffer.from('me:it is').toString('base64')}`);
    expect(await ask('other.example:7443', env)).toContain("the gate's certificate is for another name");
  });

  it.each([
    ['gate.example', 'the gate at gate.example, port 443 as none was given, cannot be reached'],
    ['gate.example:7443', 'the gate at gate.example:7443 cannot be reached'],
    ['unix:/run/gate', 'the gate at unix:/run/gate cannot be reached'],
  ])('is told which port was taken of %s', (address, unreachable) => {
    expect(channelTo(address, channel(files('client-ci')), channelOptions, {}).unreachable).toBe(unreachable);
  });

  it('names proxy and variable where it does not get through', async () => {
    const { address } = await openProxy(0, 403);
    expect(await ask('gate.example:7443', { grpc_proxy: `http://me:hunter2@${address}` })).toMatch(
      /through the proxy http:\/\/127[^ ]*, which the variable grpc_proxy names: .*does not connect to gate\.example:7443: it answers 403/,
    );
    expect(await ask('gate.example:7443', { https_proxy: 'http://127.0.0.1:9' })).toMatch(
      /through the proxy http:\/\/127\.0\.0\.1:9, which the variable https_proxy names: .*ECONNREFUSED/,
    );
  });
});

describe('widenReceiveWindow', () => {
  it.each([0, 2])('widens the window of the connection, behind %i interceptors', async (count) => {
    const pass: ServerInterceptor = (_, call) => new ServerInterceptingCall(call);
    const server = new Server({ ...serverOptions, interceptors: Array<ServerInterceptor>(count).fill(pass) });
    const sizes: unknown[] = [];
    const getKeys: GateServer['getKeys'] = (call, reply) => {
      sizes.push(windowOf(call), widenReceiveWindow(call), windowOf(call));
      reply(null, { keys: [] });
    };
    server.addService({ getKeys: GateService.getKeys }, { getKeys });
    expect(await whoAmI(await bind(server), readChannelCredentials(files('client-ci')))).toBe('');
    expect(sizes).toEqual([65_535, true, 2 * streamWindow]);
  });

  it('leaves alone what is no call', () => {
    for (const call of [
      {},
      { call: {} },
      { call: { stream: null } },
      { call: { stream: { session: {} } } },
    ]) {
      expect(widenReceiveWindow(call)).toBe(false);
    }
  });
});

/** What the session behind a call may receive in all. */
function windowOf(call: object): number | undefined {
  let inner = (call as { call: { nextCall?: object } }).call;
  while (inner.nextCall !== undefined) inner = inner.nextCall;
  return (inner as { stream?: ServerHttp2Stream }).stream?.session?.state.effectiveLocalWindowSize;
}

describe('identityOfCall', () => {
  const call = (authContext: object): ServerUnaryCall<unknown, unknown> =>
    ({ getAuthContext: () => authContext }) as unknown as ServerUnaryCall<unknown, unknown>;

  it.each([{}, { transportSecurityType: 'ssl' }, { transportSecurityType: 'ssl', sslPeerCertificate: {} }])(
    'refuses a call without a certificate: %o',
    (authContext) => {
      expect(() => identityOfCall(call(authContext))).toThrowError(
        expect.objectContaining({ code: 'NO_CREDENTIALS' }),
      );
    },
  );
});

describe('reading credentials', () => {
  const code = (run: () => unknown): string => {
    try {
      run();
      return 'none';
    } catch (error) {
      return error instanceof CscError ? error.code : 'another error';
    }
  };

  it.each([readServerCredentials, readChannelCredentials])(
    'refuses files that do not fit together: %o',
    (read) => {
      const good = files('gate');
      expect(code(() => read(good))).toBe('none');
      expect(code(() => read({ ...good, key: files('client-ci').key }))).toBe('CONFIG_INVALID');
      expect(code(() => read({ ...good, cert: good.key }))).toBe('CONFIG_INVALID');
      expect(code(() => read({ ...good, ca: good.key }))).toBe('CONFIG_INVALID');
      expect(code(() => read({ ...good, ca: join(dir, 'nothing') }))).toBe('FILE_UNREADABLE');
    },
  );

  const texts = (name: string): Record<keyof TlsFiles, string> => {
    const { ca, cert, key } = files(name);
    return { ca: readFileSync(ca, 'utf8'), cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  };

  it('takes PEM texts as well as paths, also as variables of CI systems hold them', async () => {
    const gate = texts('gate');
    const address = await listen(readServerCredentials({ ...gate, ca: Buffer.from(gate.ca) }));
    const spelled = (text: string) => text.trim().replaceAll('\n', '\\n');
    const spaced = (text: string) => text.replaceAll(/\n(?=[A-Za-z0-9+/])|(?<=[A-Za-z0-9+/=])\n/g, ' ');
    const { ca, cert, key } = texts('client-ci');
    for (const one of [
      { ca, cert, key },
      { ca: spelled(ca), cert: spelled(cert), key: spelled(key) },
      { ca: files('client-ci').ca, cert: spaced(cert), key: spaced(key) },
    ])
      expect(await whoAmI(address, readChannelCredentials(one))).toBe('spiffe://csc.local/client/ci');
  });

  const message = (source: TlsFiles): string => {
    try {
      readChannelCredentials(source);
      return 'none';
    } catch (error) {
      return error instanceof Error ? error.message : '';
    }
  };

  it('says which of the two it got, and what was in it', () => {
    const client = files('client-ci');
    const { cert, key } = texts('client-ci');
    expect(message({ ...client, cert: 'none.pem' })).toMatch(
      /read none\.pem.*cert was taken as a path, as .* begins\)$/,
    );
    expect(message({ ...client, cert: key })).toBe(
      'the PEM text given as cert holds PRIVATE KEY, and cert must be a PEM CERTIFICATE',
    );
    expect(message({ ...client, key: client.cert })).toBe(
      `${client.cert} holds CERTIFICATE, and key must be a PEM PRIVATE KEY`,
    );
    expect(message({ ...client, cert, key: texts('gate').key })).toMatch(
      /^the PEM text given as key is not the private key of the PEM text given as cert/,
    );
    const locked = createPrivateKey(key).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    });
    expect(message({ ...client, key: locked.toString() })).toContain('decrypt it with openssl pkey');
  });

  it('refuses a certificate of our own that has ended or has not begun', async () => {
    const who = 'spiffe://csc.local/client/ci';
    const ended = await issue('ended', 'client', who, [], { begins: -9e9, ends: -1000 });
    expect(message(ended)).toMatch(/ended\.pem ended on \d{4}-\d\d-\d\d: get a new one \(csc pki renew/);
    const early = await issue('early', 'client', who, [], { begins: 9e8, ends: 9e9 });
    expect(message(early)).toMatch(/early\.pem is not valid before .* and the clock here says /);
    for (const it of [ended, early]) {
      expect(code(() => readChannelCredentials(it))).toBe('CREDENTIALS_INVALID');
      expect(code(() => readServerCredentials(it))).toBe('CREDENTIALS_INVALID');
    }
  });

  it('refuses a private key that everyone may read, and takes one for the group', () => {
    const key = join(dir, 'copy.key');
    copyFileSync(files('gate').key, key);
    chmodSync(key, 0o644);
    expect(code(() => readServerCredentials({ ...files('gate'), key }))).toBe('CONFIG_INVALID');
    chmodSync(key, 0o640);
    expect(code(() => readServerCredentials({ ...files('gate'), key }))).toBe('none');
  });
});
