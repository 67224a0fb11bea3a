import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import { refusal, testProvider } from '@csc-fleet/test-kit/secrets/provider-contract';
import { startVault, type TestingVault, type Trick } from '@csc-fleet/test-kit/secrets/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SecretProvider } from './provider.ts';
import { createVaultProvider, type VaultOptions } from './vault-provider.ts';

let directory: string;
let vault: TestingVault;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'csc-vault-'));
  vault = await startVault();
});
afterAll(async () => {
  await vault.close();
  rmSync(directory, { recursive: true });
});

const value = 'the-value-of-it';

function tokenFile(token = 'hvs.the-token', mode = 0o600): string {
  const path = join(directory, 'token');
  writeFileSync(path, `${token}\n`);
  chmodSync(path, mode);
  return path;
}

function provider(options: Partial<VaultOptions> = {}): SecretProvider {
  const file = options.tokenFile ?? tokenFile();
  return createVaultProvider({ address: vault.address, retryDelayMs: 1, ...options, tokenFile: file });
}

function put(path: string, data: Record<string, unknown>): void {
  vault.secrets.set(path, { data });
}

/** Reads the secret `token` while the server plays its tricks; gives what came of it and how often it was asked. */
async function readWith(tricks: readonly Trick[], options: Partial<VaultOptions> = {}) {
  put('secret/data/token', { value });
  vault.tricks.splice(0, vault.tricks.length, ...tricks);
  const before = vault.requests.length;
  const read = provider(options).read('token');
  const text = await read.then(String, () => undefined);
  const refused = text === undefined ? await refusal(read) : undefined;
  return { text, refused, asked: vault.requests.length - before };
}

const status =
  (code: number, body = '{"errors":[]}'): Trick =>
  (_, response) => {
    response.writeHead(code);
    response.end(body);
  };
const reset: Trick = (request) => request.socket.resetAndDestroy();

testProvider('a Vault server', async () => {
  const server = await startVault();
  const home = mkdtempSync(join(tmpdir(), 'csc-vault-'));
  const path = join(home, 'token');
  writeFileSync(path, server.token, { mode: 0o600 });
  return {
    provider: createVaultProvider({ address: server.address, tokenFile: path, retryDelayMs: 1 }),
    put: (name, text) => void server.secrets.set(`secret/data/${name}`, { data: { value: text } }),
    remove: (name) => void server.secrets.delete(`secret/data/${name}`),
    asked: () => server.requests.length,
    close: async () => {
      await server.close();
      rmSync(home, { recursive: true });
    },
  };
});

describe('what is asked for', () => {
  it.each<[string, Partial<VaultOptions>, Record<string, unknown>]>([
    ['secret/data/token', {}, { value }],
    ['secret/data/ci/builds/token', { prefix: 'ci/builds' }, { value }],
    ['team/kv/data/token', { mount: 'team/kv' }, { value }],
    ['secret/data/token', { field: 'password' }, { value: 'other', password: value }],
    ['kv/token', { mount: 'kv', version: 1 }, { value }],
    ['kv/ci/token', { mount: 'kv', version: 1, prefix: 'ci' }, { value }],
  ])('is %s', async (path, options, data) => {
    put(path, data);
    expect((await provider(options).read('token')).toString()).toBe(value);
    expect(vault.requests.at(-1)).toBe(`GET /v1/${path}`);
  });

  it('is asked with the token that the file holds by then', async () => {
    put('secret/data/token', { value });
    const subject = provider();
    await subject.read('token');
    tokenFile('hvs.rotated');
    expect(await refusal(subject.read('token'))).toMatchObject({ message: expect.stringContaining('token') });
    vault.token = 'hvs.rotated';
    expect((await subject.read('token')).toString()).toBe(value);
    vault.token = 'hvs.the-token';
  });
});

describe('a refusal', () => {
  it('says that the token may not read it, and holds no token', async () => {
    vault.forbidden.add('secret/data/closed');
    const { code, message } = await refusal(provider().read('closed'));
    expect(code).toBe('SANDBOX_UNAVAILABLE');
    expect(message).toMatch(/may not read .*secret\/data\/closed/);
    expect(message).not.toContain('hvs.');
  });

  it.each([
    ['deleted', { data: null, deletionTime: '2026-02-03T04:05:06Z' }, 200],
    ['deleted', { data: null, deletionTime: '2026-02-03T04:05:06Z' }, 404],
    ['destroyed', { data: null, destroyed: true }, 404],
  ] as const)('says that its latest version was %s', async (word, version, code) => {
    vault.secrets.set('secret/data/gone', version);
    const { data, ...rest } = version;
    const metadata = { deletion_time: '', destroyed: false, version: 1, ...toMetadata(rest) };
    if (code === 200) vault.tricks.push(status(200, JSON.stringify({ data: { data, metadata } })));
    expect(await refusal(provider().read('gone'))).toEqual({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining(word),
    });
  });

  it('says that there is no such secret', async () => {
    expect(await refusal(provider().read('nothing'))).toEqual({
      code: 'SANDBOX_UNAVAILABLE',
      message: 'Vault does not have the secret nothing (secret/data/nothing)',
    });
  });

  it.each<[string, Record<string, unknown>]>([
    ['has no field', { other: value }],
    ['has no field', {}],
    ['is not a text', { value: 7 }],
    ['is not a text', { value: { nested: value } }],
    ['is not a text', { value: '\ud800' }],
  ])('says that the secret %s', async (words, data) => {
    put('secret/data/token', data);
    const { message } = await refusal(provider().read('token'));
    expect(message).toContain(words);
    expect(message).not.toContain(value);
  });

  it('takes no field for one that every object has', async () => {
    put('secret/data/token', { value });
    const { message } = await refusal(provider({ field: 'toString' }).read('token'));
    expect(message).toContain('has no field');
  });

  it('says that the engine is of the other version', async () => {
    put('kv/token', { value });
    vault.secrets.set('kv/data/token', { data: { value } });
    const { message } = await refusal(provider({ mount: 'kv' }).read('token'));
    expect(message).toContain('is the mount of version 1?');
    expect(message).not.toContain(value);
  });

  it.each([
    ['{"data":{"data":{"value":"the-value-of-it"}'],
    ['"the-value-of-it"'],
    ['the-value-of-it'],
    [''],
    ['[]'],
    ['null'],
    ['{"data":{"data":["the-value-of-it"]}}'],
  ])('of an answer that is no KV secret (%s) holds nothing of it', async (body) => {
    const { refused, asked } = await readWith([status(200, body)]);
    expect(refused?.code).toBe('SANDBOX_UNAVAILABLE');
    expect(JSON.stringify(refused)).not.toContain(value);
    expect(asked).toBe(1);
  });

  it('of another protocol does not hold the run up', async () => {
    const upgrade: Trick = (_, response) =>
      void response.socket?.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
      );
    expect((await readWith([upgrade])).refused?.message).toContain('the connection broke off');
  });

  it('of a redirect does not follow it', async () => {
    const to = new URL('/v1/secret/data/token?elsewhere', vault.address).href;
    const redirect: Trick = (_, response) => {
      response.writeHead(307, { location: to });
      response.end();
    };
    const { refused, asked } = await readWith([redirect]);
    expect(refused?.message).toContain('redirect');
    expect(asked).toBe(1);
  });

  it('of an answer without end comes before all of it', async () => {
    const endless: Trick = (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (response.writable && response.write(Buffer.alloc(65_536, 'x')));
      };
      response.on('drain', more);
      more();
    };
    const { refused, asked } = await readWith([endless]);
    expect(refused).toEqual({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('1048576 bytes'),
    });
    expect(asked).toBe(1);
  });
});

describe('an error with all that hangs on it', () => {
  const tricks: Readonly<Record<string, Trick>> = {
    'no JSON': status(200, `{"data": ${value}`),
    'no KV': status(200, `{"data": {"value": "${value}"}}`),
    'not permitted': status(403, `{"errors": ["hvs.the-token may not read ${value}"]}`),
    'reset half-way': (request, response) => {
      response.writeHead(200);
      response.write(`{"data": "${value}"`, () => request.socket.resetAndDestroy());
    },
    'no HTTP': (request) => request.socket.end(`${value}\r\n\r\n`),
  };

  it.each(Object.entries(tricks))('holds no token and no value: %s', async (_, trick) => {
    vault.tricks.push(trick, trick);
    const error: unknown = await provider()
      .read('token')
      .catch((thrown: unknown) => thrown);
    vault.tricks.length = 0;
    expect(error).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    const everything = inspect(error, { depth: null, showHidden: true });
    expect(everything).not.toContain(value);
    expect(everything).not.toContain('hvs.');
  });
});

describe('another attempt', () => {
  it.each([[500], [502], [503], [429], [412]])('follows a %d', async (code) => {
    expect(await readWith([status(code)])).toMatchObject({ text: value, asked: 2 });
  });

  it('follows a connection that is reset, before an answer or in it', async () => {
    const half: Trick = (request, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('{"data":', () => request.socket.resetAndDestroy());
    };
    expect(await readWith([reset])).toMatchObject({ text: value, asked: 2 });
    expect(await readWith([half])).toMatchObject({ text: value, asked: 2 });
  });

  it.each([
    [503, 'sealed'],
    [500, 'failed (500)'],
    [429, '429'],
    [412, '412'],
  ])('is the last: two times %d', async (code, words) => {
    const { refused, asked } = await readWith([status(code), status(code), status(200, '{}')]);
    expect(refused).toEqual({ code: 'SANDBOX_UNAVAILABLE', message: expect.stringContaining(words) });
    expect(asked).toBe(2);
    expect(await readWith([reset, reset])).toMatchObject({
      refused: { code: 'SANDBOX_UNAVAILABLE' },
      asked: 2,
    });
  });

  it.each([[400], [401], [403], [404], [405]])('does not follow a %d', async (code) => {
    expect(await readWith([status(code)])).toMatchObject({
      refused: { code: 'SANDBOX_UNAVAILABLE' },
      asked: 1,
    });
  });
});

describe('a server that takes its time', () => {
  const silent: Trick = () => undefined;
  const drip: Trick = (_, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(' '), 10);
    response.on('close', () => clearInterval(timer));
  };

  it.each([
    ['says nothing', silent],
    ['never comes to an end', drip],
  ])('and %s is given up', async (_, trick) => {
    const { refused, asked } = await readWith([trick], { timeoutMs: 500 });
    expect(refused).toEqual({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('did not answer within 0.5 s'),
    });
    expect(asked).toBe(1);
  });

  it('is left alone when nobody waits any more', async () => {
    const controller = new AbortController();
    vault.tricks.push(() => controller.abort());
    expect(await refusal(provider().read('token', { signal: controller.signal }))).toMatchObject({
      code: 'CANCELLED',
    });
    const pausing = new AbortController();
    vault.tricks.push((_, response) => {
      response.writeHead(500);
      response.end(() => setTimeout(() => pausing.abort(), 20));
    });
    const read = provider({ retryDelayMs: 600_000 }).read('token', { signal: pausing.signal });
    expect(await refusal(read)).toMatchObject({ code: 'CANCELLED' });
  });
});

describe('the token file', () => {
  it.each([0o644, 0o604, 0o620, 0o602])('may not have mode %o', async (mode) => {
    const before = vault.requests.length;
    const path = tokenFile('hvs.the-token', mode);
    const { code, message } = await refusal(
      createVaultProvider({ address: vault.address, tokenFile: path }).read('token'),
    );
    expect(code).toBe('SANDBOX_UNAVAILABLE');
    expect(message).toContain(`chmod 600 ${path}`);
    expect(vault.requests).toHaveLength(before);
  });

  it('may be readable by its group', async () => {
    put('secret/data/token', { value });
    const subject = provider({ tokenFile: tokenFile('hvs.the-token', 0o640) });
    expect((await subject.read('token')).toString()).toBe(value);
  });

  it.each([[''], ['two words'], ['two\nlines'], ['tökén'], ['x\u0000y']])(
    'may not hold %j',
    async (token) => {
      const { code, message } = await refusal(provider({ tokenFile: tokenFile(token) }).read('token'));
      expect(code).toBe('SANDBOX_UNAVAILABLE');
      expect(message).toContain('does not hold a token');
    },
  );

  it('has to be there', async () => {
    const subject = provider({ tokenFile: join(directory, 'nothing') });
    expect(await refusal(subject.read('token'))).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('nothing'),
    });
  });
});

describe('a server with TLS', () => {
  let pki: string;
  let server: TestingVault;
  beforeAll(async () => {
    pki = join(directory, 'pki');
    await createDevelopmentPki(pki, { hosts: ['127.0.0.1'] });
    await createDevelopmentPki(join(directory, 'other'), { hosts: ['127.0.0.1'] });
    await createDevelopmentPki(join(directory, 'named'), { hosts: ['vault.example.org'] });
    server = await startVault(pair(pki));
    server.secrets.set('secret/data/token', { data: { value } });
  });
  afterAll(() => server.close());
  const pair = (dir: string) => ({
    key: readFileSync(join(dir, 'gate.key'), 'utf8'),
    cert: readFileSync(join(dir, 'gate.pem'), 'utf8'),
  });

  it('is read where its certificate is from the CA', async () => {
    const subject = provider({ address: server.address, ca: join(pki, 'ca.pem') });
    expect((await subject.read('token')).toString()).toBe(value);
  });

  it('gets no token where its certificate is from another CA, or none that is known', async () => {
    const before = server.requests.length;
    for (const ca of [{ ca: join(directory, 'other', 'ca.pem') }, {}]) {
      expect(await refusal(provider({ address: server.address, ...ca }).read('token'))).toEqual({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringContaining('set ca'),
      });
    }
    expect(server.requests).toHaveLength(before);
  });

  it('gets no token where its certificate is for another host', async () => {
    const named = join(directory, 'named');
    const impostor = await startVault(pair(named));
    const subject = provider({ address: impostor.address, ca: join(named, 'ca.pem') });
    expect(await refusal(subject.read('token'))).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('another name'),
    });
    expect(impostor.requests).toEqual([]);
    await impostor.close();
  });

  it('needs a CA file that can be read', async () => {
    const subject = provider({ address: server.address, ca: join(directory, 'nothing.pem') });
    expect(await refusal(subject.read('token'))).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      message: expect.stringContaining('nothing.pem'),
    });
  });
});

it('says that nobody listens', async () => {
  const gone = await startVault();
  await gone.close();
  expect(await refusal(provider({ address: gone.address }).read('token'))).toMatchObject({
    code: 'SANDBOX_UNAVAILABLE',
    message: expect.stringContaining('ECONNREFUSED'),
  });
});

function toMetadata(version: { deletionTime?: string; destroyed?: boolean }): object {
  return { deletion_time: version.deletionTime ?? '', destroyed: version.destroyed ?? false };
}
