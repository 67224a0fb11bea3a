import { describe, expect, it } from 'vitest';
import {
  createOpener,
  createSealer,
  idOfSealKey,
  isSealPublicKey,
  makeSealKey,
  parseSealKey,
  type SealedStream,
} from './index.ts';

const key = makeSealKey();
const own: SealedStream = { executionId: 'e1', commandId: 'main', stream: 'stdout' };
const keys = (keyId: string) => (keyId === idOfSealKey(key) ? key : undefined);
const words = ['first ', 'second ', 'third '];
const headerLength = 56;

async function seal(pieces: readonly string[] = words): Promise<Buffer> {
  const sealer = await createSealer(key.publicKey, own);
  const sealed: Buffer[] = [];
  for (const piece of pieces) sealed.push(await sealer.push(Buffer.from(piece)));
  return Buffer.concat([...sealed, await sealer.end()]);
}

async function open(sealed: Uint8Array, size = sealed.length, stream = own) {
  const opener = createOpener(keys, stream);
  let text = '';
  for (let at = 0; at < sealed.length; at += size)
    text += (await opener.push(sealed.subarray(at, at + size))).toString();
  return { text, isWhole: opener.isWhole };
}

/** Where each record begins, and the end. */
function recordsOf(sealed: Buffer): number[] {
  const at = [headerLength];
  for (let next = headerLength; next < sealed.length; ) {
    next += 4 + (sealed.readUInt32BE(next) % 0x8000_0000);
    at.push(next);
  }
  return at;
}

describe('a sealed stream', () => {
  it.each([1, 7, 56, 1000])('opens whole, however it is cut into pieces of %i', async (size) => {
    const sealed = await seal();
    expect(await open(sealed, size)).toEqual({ text: words.join(''), isWhole: true });
    for (const word of words) expect(sealed.includes(word.trim())).toBe(false);
  });

  it('opens with more than one record holds, and with nothing in it', async () => {
    const much = 'x'.repeat(100_000);
    expect(await open(await seal([much]))).toEqual({ text: much, isWhole: true });
    expect(await seal([])).toHaveLength(0);
  });

  it('shows that its end is missing, and opens what came before', async () => {
    const sealed = await seal();
    const [, , third = 0] = recordsOf(sealed);
    expect(await open(sealed.subarray(0, third))).toEqual({ text: 'first second ', isWhole: false });
    expect(await open(sealed.subarray(0, third + 9))).toEqual({ text: 'first second ', isWhole: false });
  });

  it.each<[string, (sealed: Buffer, records: number[]) => Buffer]>([
    [
      'a record that was left out',
      (sealed, [, second = 0, third = 0]) =>
        Buffer.concat([sealed.subarray(0, second), sealed.subarray(third)]),
    ],
    [
      'two records that were swapped',
      (sealed, [first = 0, second = 0, third = 0]) =>
        Buffer.concat([
          sealed.subarray(0, first),
          sealed.subarray(second, third),
          sealed.subarray(first, second),
          sealed.subarray(third),
        ]),
    ],
    [
      'a bit that was changed',
      (sealed, [, second = 0]) => {
        const changed = Buffer.from(sealed);
        changed.writeUInt8((sealed[second + 6] ?? 0) ^ 1, second + 6);
        return changed;
      },
    ],
    [
      'a record that says it is the last and is not',
      (sealed, [, second = 0]) => {
        const changed = Buffer.from(sealed);
        changed.writeUInt8(0x80, second);
        return changed;
      },
    ],
    ['more behind its end', (sealed) => Buffer.concat([sealed, Buffer.from('more')])],
    [
      'a record of a length that none has',
      (sealed, [first = 0]) =>
        Buffer.concat([sealed.subarray(0, first), Buffer.from([0x7f, 0xff, 0xff, 0xff])]),
    ],
  ])('does not open with %s', async (_what, change) => {
    const sealed = await seal();
    await expect(open(change(sealed, recordsOf(sealed)))).rejects.toMatchObject({ code: 'SEAL_INVALID' });
  });

  it.each([
    ['execution', { ...own, executionId: 'e2' }],
    ['command', { ...own, commandId: 'other' }],
    ['stream', { ...own, stream: 'stderr' }],
  ])('does not open as that of another %s', async (_what, stream) => {
    await expect(open(await seal(), 1000, stream)).rejects.toMatchObject({ code: 'SEAL_INVALID' });
  });

  it('does not open without its key, and says which that is', async () => {
    const opener = createOpener(() => undefined, own);
    const problem = { code: 'KEY_UNKNOWN', message: expect.stringContaining(idOfSealKey(key)) };
    await expect(opener.push(await seal())).rejects.toMatchObject(problem);
  });
});

it('a key is one of X25519, and none that protects nothing', () => {
  expect(isSealPublicKey(key.publicKey)).toBe(true);
  // RFC 7748: of order 1, 2 and 4.
  for (const first of [0, 1])
    expect(isSealPublicKey(Buffer.concat([Buffer.from([first]), Buffer.alloc(31)]))).toBe(false);
  expect(isSealPublicKey(Buffer.alloc(31, 9))).toBe(false);
  const read = parseSealKey(Buffer.from(key.pem));
  expect(read).toEqual({ ok: true, value: key });
  expect(parseSealKey(Buffer.from('nothing'))).toMatchObject({ ok: false });
});
