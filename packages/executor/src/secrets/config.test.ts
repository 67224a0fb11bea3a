import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '@csc-fleet/common/config';
import { startVault } from '@csc-fleet/test-kit/secrets/vault';
import { describe, expect, it } from 'vitest';
import { createSecretProvider, secretsConfig } from './config.ts';

function parse(value: object): ReturnType<typeof parseConfig<ReturnType<typeof secretsConfig.parse>>> {
  return parseConfig(Buffer.from(JSON.stringify(value)), secretsConfig);
}

function vault(address: string, more: object = {}): object {
  return { vault: { address, token_file: 'token', ...more } };
}

describe('secretsConfig', () => {
  it('takes a directory or a Vault server, with defaults filled in', () => {
    expect(parse({ directory: 'secrets' })).toEqual({ ok: true, value: { directory: 'secrets' } });
    expect(parse(vault('https://vault.example.org:8200'))).toEqual({
      ok: true,
      value: {
        vault: {
          address: 'https://vault.example.org:8200',
          token_file: 'token',
          mount: 'secret',
          prefix: '',
          field: 'value',
          version: 2,
          allow_plaintext: false,
        },
      },
    });
  });

  it.each<[string, object]>([
    ['nothing', {}],
    ['both', { directory: 'secrets', ...vault('https://vault.example.org') }],
    ['an unknown member', { directory: 'secrets', recursive: true }],
    ['an unknown member of vault', vault('https://vault.example.org', { token: 'hvs.x' })],
    ['an empty directory', { directory: '' }],
    ['no token file', { vault: { address: 'https://vault.example.org' } }],
    ['another KV version', vault('https://vault.example.org', { version: 3 })],
    ...['..', 'a/../b', '/a', 'a/', 'a//b', 'a b', 'a?b', '%2e', '', '.'].map((mount): [string, object] => [
      `the mount ${mount}`,
      vault('https://vault.example.org', { mount }),
    ]),
    ...['..', '/a', 'a/', 'a/./b'].map((prefix): [string, object] => [
      `the prefix ${prefix}`,
      vault('https://vault.example.org', { prefix }),
    ]),
  ])('refuses %s', (_, value) => {
    expect(parse(value).ok).toBe(false);
  });

  it('says what is wrong with the one that is there', () => {
    const faults = (value: object): string[] => {
      const result = parse(value);
      return result.ok ? [] : result.faults.map(({ path }) => path);
    };
    expect(
      faults({ vault: { address: 'https://vault.example.org', tokenfile: 'token', mount: '..' } }),
    ).toEqual(['vault.token_file', 'vault.mount', 'vault.tokenfile']);
    expect(faults(vault('http://vault.example.org'))).toEqual(['vault.address']);
  });

  it.each([
    'vault.example.org',
    'ftp://vault.example.org',
    'file:///etc/passwd',
    'https://',
    'https://user:pw@vault.example.org',
    'https://@vault.example.org',
    'https://vault.example.org/v1',
    'https://vault.example.org/?',
    'https://vault.example.org/#',
    'https://vault.example.org:99999',
    'unix:/run/vault.sock',
    '',
  ])('refuses the address %j', (address) => {
    expect(parse(vault(address, { allow_plaintext: true })).ok).toBe(false);
  });

  it.each([
    'https://vault.example.org/',
    'https://10.0.0.1:8200',
    'http://127.0.0.1:8200',
    'http://127.8.9.10',
    'http://[::1]:8200',
    'http://localhost:8200',
  ])('takes the address %s', (address) => {
    expect(parse(vault(address)).ok).toBe(true);
  });

  it.each([
    'http://vault.example.org',
    'http://10.0.0.1:8200',
    'http://127.0.0.1.example.org',
    'http://localhost.example.org',
    'http://[::ffff:10.0.0.1]',
    'http://0.0.0.0',
  ])('takes the address %s only where plaintext is allowed', (address) => {
    expect(parse(vault(address)).ok).toBe(false);
    expect(parse(vault(address, { allow_plaintext: true })).ok).toBe(true);
  });
});

describe('createSecretProvider', () => {
  it('makes paths absolute, and gives what reads from there', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'csc-secrets-'));
    const server = await startVault();
    writeFileSync(join(directory, 'token'), server.token, { mode: 0o600 });
    server.secrets.set('team/data/ci/name', { data: { password: 'abcdefgh' } });
    const from = (path: string): string => join(directory, path);
    const read = async (config: object): Promise<string> => {
      const parsed = secretsConfig.parse(config);
      return (
        await createSecretProvider(parsed, from).read('directory' in parsed ? 'token' : 'name')
      ).toString();
    };
    expect(await read({ directory: '.' })).toBe(server.token);
    const options = { mount: 'team', prefix: 'ci', field: 'password' };
    expect(await read(vault(server.address, options))).toBe('abcdefgh');
    await server.close();
    rmSync(directory, { recursive: true });
  });
});
