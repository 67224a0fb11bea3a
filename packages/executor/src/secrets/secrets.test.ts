import { CscError } from '@csc-fleet/common/errors';
import { refusal } from '@csc-fleet/test-kit/secrets/provider-contract';
import { describe, expect, it } from 'vitest';
import type { ReadOptions, SecretProvider } from './provider.ts';
import { readSecrets, secretVariables } from './secrets.ts';

/** Has these secrets, and keeps what it gave and what it was asked. */
function createProvider(secrets: Readonly<Record<string, string>>) {
  const given: Buffer[] = [];
  const asked: string[] = [];
  const options: (ReadOptions | undefined)[] = [];
  const provider: SecretProvider = {
    async read(name, readOptions) {
      asked.push(name);
      options.push(readOptions);
      const text = secrets[name];
      if (text === undefined) throw new CscError('SANDBOX_UNAVAILABLE', `no ${name}`);
      const value = Buffer.from(text);
      given.push(value);
      return value;
    },
  };
  return { provider, given, asked, options };
}

const isWiped = (value: Buffer): boolean => value.length > 0 && value.every((byte) => byte === 0);

describe('readSecrets', () => {
  it('gives values, each secret read once', async () => {
    const { provider, asked } = createProvider({ token: 'abcdefgh', 'db.password': 'ijklmnop' });
    const secrets = await readSecrets(['token', 'db.password', 'token'], provider);
    expect(asked).toEqual(['token', 'db.password']);
    expect([...secrets.values].map(([name, value]) => [name, value.toString()])).toEqual([
      ['token', 'abcdefgh'],
      ['db.password', 'ijklmnop'],
    ]);
  });

  it.each(['token-value\r', 'token-value\r\r', '\ufefftoken-value'])(
    'refuses %j, which no server takes',
    async (text) => {
      const { provider, given } = createProvider({ token: text });
      const refused = readSecrets(['token'], provider);
      await expect(refused).rejects.toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        message: expect.stringMatching(/carriage return|byte order mark/),
      });
      expect(given.every(isWiped)).toBe(true);
    },
  );

  it('leaves the lines of a value as they are', async () => {
    const { provider } = createProvider({ pem: '-----BEGIN\r\nline\r\n-----END' });
    expect((await readSecrets(['pem'], provider)).values.get('pem')?.toString()).toContain('\r\nline');
  });

  it('asks nobody for nothing', async () => {
    const { provider, asked } = createProvider({});
    const secrets = await readSecrets([], provider);
    expect([secrets.values.size, asked]).toEqual([0, []]);
  });

  it('wipes what it gave', async () => {
    const { provider, given } = createProvider({ token: 'abcdefgh', other: 'ijklmnop' });
    const secrets = await readSecrets(['token', 'other'], provider);
    secrets.wipe();
    expect(given.map(isWiped)).toEqual([true, true]);
  });

  it.each([
    ['one that is not there', {}],
    ['one that cannot be masked', { bad: 'abc' }],
  ])('keeps nothing of %s, nor of those before it', async (_, more: Record<string, string>) => {
    const { provider, given, asked } = createProvider({ token: 'abcdefgh', late: 'ijklmnop', ...more });
    expect(await refusal(readSecrets(['token', 'bad', 'late'], provider))).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
    });
    expect(asked).toEqual(['token', 'bad']);
    expect(given.every(isWiped)).toBe(true);
  });

  it('passes the signal on', async () => {
    const { provider, options } = createProvider({ token: 'abcdefgh' });
    const { signal } = new AbortController();
    await readSecrets(['token'], provider, { signal });
    expect(options).toEqual([{ signal }]);
  });
});

describe('secretVariables', () => {
  it('names the files of those that are allowed', () => {
    const names = ['token', 'db.pass-word', 'other'];
    expect(secretVariables(names, ['TOKEN_FILE', 'DB_PASS_WORD_FILE', 'token', 'CI'])).toEqual({
      TOKEN_FILE: '/run/secrets/token',
      DB_PASS_WORD_FILE: '/run/secrets/db.pass-word',
    });
    expect(secretVariables(names, [])).toEqual({});
  });
});
