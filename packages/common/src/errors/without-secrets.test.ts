import { describe, expect, it } from 'vitest';
import { CscError } from './csc-error.ts';
import { withoutSecrets } from './without-secrets.ts';

// Of no use to anybody: made for this test.
const body = 'MC4CAQAwBQYDK2VwBCIEIHqJlPZ8x3n0Q2v5cW1sT7uYb9Rk4LmE6GfDaXoNhViS';
const seed = 'eomU9nzHefRDa/lxbWxPu5hv1GTgusT8Z8NpeM2FWJI=';

describe('withoutSecrets', () => {
  it.each([
    ['whole', `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`],
    ['escaped', `-----BEGIN PRIVATE KEY-----\\n${body}\\n-----END PRIVATE KEY-----\\n`],
    ['cut', `-----BEGIN EC PRIVATE KEY-----\n${body.slice(0, 30)}…`],
    ['without its frame', body],
    ['as a raw seed', seed],
    ['a line of a longer one', `${'kQ7x'.repeat(15)}Ab1/`],
  ])('takes a key out: %s', (_, key) => {
    const shown = withoutSecrets(`failed to read ${key}`);
    expect(shown).toContain('not shown');
    expect(shown).not.toContain(key.slice(30, 44).trim());
  });

  it('keeps a line of JSON one', () => {
    const line = JSON.stringify({
      err: { message: `no such file, open '-----BEGIN PRIVATE KEY-----\n${body}` },
      n: 1,
    });
    expect(JSON.parse(withoutSecrets(line))).toMatchObject({ n: 1 });
    expect(withoutSecrets(line)).not.toContain(body);
  });

  it.each([
    `sha256 ${'0f'.repeat(32)}`,
    'failed to read /home/Alice1/projects/Fleet2/packages/common/src/errors/without-secrets.test.ts: no',
    'the key id "build-1-3f2a9c0d1e4b5a68" is 550e8400-e29b-41d4-a716-446655440000',
  ])('leaves the rest: %s', (text) => {
    expect(withoutSecrets(text)).toBe(text);
  });
});

describe('a CscError', () => {
  it('holds none in message, faults or causes', () => {
    const cause = Object.assign(new Error(`ENOENT: open '${body}'`), { code: 'ENOENT', path: body });
    const outer = new Error('outer', { cause });
    const error = new CscError('CONFIG_INVALID', `no ${body}`, {
      cause: outer,
      faults: [{ path: body, message: `is ${body}` }],
    });
    const { faults, message, stack } = error;
    const inner = (error.cause as Error).cause as Error & { code: string };
    const all = [JSON.stringify(faults), message, stack, inner.message, inner.stack, JSON.stringify(inner)];
    for (const text of all) expect(text).not.toContain(body);
    expect(inner.code).toBe('ENOENT');
  });
});
