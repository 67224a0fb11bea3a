import { isCscError } from '@csc-fleet/common/errors';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { maxSecretBytes, type SecretProvider } from '../../../packages/executor/src/secrets/provider.ts';

/** A provider and the place behind it, into which tests put secrets. */
export interface ProviderUnderTest {
  readonly provider: SecretProvider;
  /** Sets the text that a secret has from now on. */
  put(name: string, value: string): void;
  remove(name: string): void;
  /** How often the provider has turned to the place behind it for a secret; undefined where that cannot be seen. */
  asked?(): number;
  close(): Promise<void> | void;
}

/** The code and message of what a read throws; fails where it throws nothing or something else than a CscError. */
export async function refusal(read: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await read.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isCscError(error)) throw new Error('expected a CscError', { cause: error });
  return { code: error.code, message: error.message };
}

const goodNames = ['a', '_', '0', 'NPM_TOKEN', 'db.password', 'a-b_c.D', 'x'.repeat(128)];
const badNames = [
  '',
  '.',
  '..',
  '.hidden',
  '-rf',
  'a..b',
  'a/b',
  '../a',
  '/etc/passwd',
  'a\\b',
  'a b',
  'a\n',
  'a\0',
  'a%2fb',
  'a?b',
  'ä',
  'x'.repeat(129),
];

/** What every provider owes its caller. */
export function testProvider(name: string, create: () => Promise<ProviderUnderTest>): void {
  describe(`${name} as a provider`, () => {
    let subject: ProviderUnderTest;
    beforeAll(async () => {
      subject = await create();
    });
    afterAll(() => subject.close());
    const read = (secret: string): Promise<Buffer> => subject.provider.read(secret);

    it.each(goodNames)('gives the secret %s', async (secret) => {
      subject.put(secret, `value of ${secret}`);
      expect((await read(secret)).toString()).toBe(`value of ${secret}`);
    });

    it.each(badNames)('refuses the name %j unasked', async (secret) => {
      const before = subject.asked?.();
      expect(await refusal(read(secret))).toMatchObject({ code: 'CONTRACT_INVALID' });
      expect(subject.asked?.()).toBe(before);
    });

    it('gives more than ASCII and more than a line as it is', async () => {
      const value = 'first "line"\r\n\tzweite Zeile: äöü 😀\\n\u0001 end';
      subject.put('multi', value);
      expect((await read('multi')).toString()).toBe(value);
    });

    it('gives an empty secret', async () => {
      subject.put('empty', '');
      expect(await read('empty')).toHaveLength(0);
    });

    it('asks again each time', async () => {
      subject.put('rotating', 'first value');
      expect((await read('rotating')).toString()).toBe('first value');
      subject.put('rotating', 'second value');
      expect((await read('rotating')).toString()).toBe('second value');
      subject.remove('rotating');
      expect(await refusal(read('rotating'))).toMatchObject({ code: 'SANDBOX_UNAVAILABLE' });
    });

    it('gives buffers that can be overwritten', async () => {
      subject.put('token', 'abcdefgh');
      const first = await read('token');
      const second = await read('token');
      first.fill(0);
      expect(second.toString()).toBe('abcdefgh');
      expect((await read('token')).toString()).toBe('abcdefgh');
    });

    it('names the secret that it does not have', async () => {
      const { code, message } = await refusal(read('nowhere'));
      expect(code).toBe('SANDBOX_UNAVAILABLE');
      expect(message).toContain('nowhere');
    });

    it('gives what is as long as allowed and refuses what is longer, without a word of it', async () => {
      subject.put('long', 'q'.repeat(maxSecretBytes));
      expect(await read('long')).toHaveLength(maxSecretBytes);
      subject.put('long', 'q'.repeat(maxSecretBytes + 1));
      const { code, message } = await refusal(read('long'));
      expect(code).toBe('SANDBOX_UNAVAILABLE');
      expect(message).not.toContain('qqq');
    });

    it('does not begin what is cancelled', async () => {
      subject.put('token', 'abcdefgh');
      const signal = AbortSignal.abort();
      expect(await refusal(subject.provider.read('token', { signal }))).toMatchObject({ code: 'CANCELLED' });
    });
  });
}
