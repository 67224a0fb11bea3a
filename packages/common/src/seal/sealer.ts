import {
  infoOf,
  loadSuite,
  magic,
  maxRecord,
  recordHead,
  type SealedStream,
  sealKeyId,
  tagLength,
} from './format.ts';

/** Seals one stream, in order. */
export interface Sealer {
  /** What stands in the log of it: the header before the first. */
  push(chunk: Uint8Array): Promise<Buffer>;
  /** The last record, by which whoever opens it knows that nothing is missing. */
  end(): Promise<Buffer>;
}

/**
 * Seals to a public key, 32 bytes of X25519. Each record is authenticated, has its place by HPKE's own sequence, and its head is
 * bound to it. Rejects where the key is none.
 */
export async function createSealer(publicKey: Uint8Array, stream: SealedStream): Promise<Sealer> {
  const suite = await loadSuite();
  const key = await suite.DeserializePublicKey(publicKey);
  const { encapsulatedSecret, ctx } = await suite.SetupSender(key, { info: infoOf(stream) });
  let header: Buffer | undefined = Buffer.concat([magic, sealKeyId(publicKey), encapsulatedSecret]);
  const seal = async (plain: Uint8Array, isLast: boolean): Promise<Buffer> => {
    const head = recordHead(plain.length + tagLength, isLast);
    const record = Buffer.concat([head, await ctx.Seal(plain, head)]);
    const before = header;
    header = undefined;
    return before === undefined ? record : Buffer.concat([before, record]);
  };
  return {
    push: async (chunk) => {
      const records: Buffer[] = [];
      for (let at = 0; at < chunk.length; at += maxRecord)
        records.push(await seal(chunk.subarray(at, at + maxRecord), false));
      return Buffer.concat(records);
    },
    // A stream that had nothing is empty, as it is unsealed.
    end: async () => (header === undefined ? seal(new Uint8Array(), true) : Buffer.alloc(0)),
  };
}
