import type { RecipientContext } from 'hpke';
import { CscError, openings } from '../errors/index.ts';
import {
  encapsulatedLength,
  headerLength,
  infoOf,
  keyIdLength,
  lastRecord,
  lengthBytes,
  loadSuite,
  magic,
  maxRecord,
  type SealedStream,
  tagLength,
} from './format.ts';
import type { SealKey } from './key.ts';

/** Keys by the id of their public half in lower-case hex. Undefined: it is not here. */
export type SealKeys = (keyId: string) => Pick<SealKey, 'publicKey' | 'privateKey'> | undefined;

/** Opens one stream, in order. */
export interface Opener {
  /** The plaintext that is certain by now. Rejects with SEAL_INVALID, and for good. */
  push(chunk: Uint8Array): Promise<Buffer>;
  /** False: it was cut off, by its limit or by somebody; what was opened of it is its beginning. */
  readonly isWhole: boolean;
}

/** Whether bytes begin as a sealed stream does. */
export function looksSealed(bytes: Uint8Array): boolean {
  return magic.equals(bytes.subarray(0, magic.length));
}

/** Opens what createSealer has sealed for this very stream. */
export function createOpener(keys: SealKeys, stream: SealedStream): Opener {
  let waiting: Buffer = Buffer.alloc(0);
  let context: RecipientContext | undefined;
  let isWhole = false;
  const take = (length: number): Buffer => {
    const taken = waiting.subarray(0, length);
    waiting = waiting.subarray(length);
    return taken;
  };
  return {
    get isWhole() {
      return isWhole;
    },
    push: async (chunk) => {
      waiting = waiting.length === 0 ? Buffer.from(chunk) : Buffer.concat([waiting, chunk]);
      if (context === undefined) {
        if (waiting.length < headerLength) return Buffer.alloc(0);
        context = await openHeader(take(headerLength), keys, stream);
      }
      const opened: Buffer[] = [];
      while (waiting.length >= lengthBytes) {
        if (isWhole) throw invalid('there is more behind its end');
        const word = waiting.readUInt32BE();
        const length = word % lastRecord;
        if (length < tagLength || length > maxRecord + tagLength)
          throw invalid('a record has no length that one has');
        if (waiting.length < lengthBytes + length) break;
        const head = take(lengthBytes);
        opened.push(await openRecord(context, take(length), head));
        isWhole = word >= lastRecord;
      }
      if (isWhole && waiting.length > 0) throw invalid('there is more behind its end');
      return Buffer.concat(opened);
    },
  };
}

async function openHeader(header: Buffer, keys: SealKeys, stream: SealedStream): Promise<RecipientContext> {
  if (!looksSealed(header)) throw invalid('it does not begin as what is sealed does');
  const keyId = header.subarray(magic.length, magic.length + keyIdLength).toString('hex');
  const own = keys(keyId);
  if (own === undefined)
    throw new CscError(
      'KEY_UNKNOWN',
      `${openings.sealedTo}${keyId}, which is not here: give --seal-key FILE`,
    );
  const suite = await loadSuite();
  try {
    const [privateKey, publicKey] = await Promise.all([
      suite.DeserializePrivateKey(own.privateKey),
      suite.DeserializePublicKey(own.publicKey),
    ]);
    return await suite.SetupRecipient({ privateKey, publicKey }, header.subarray(-encapsulatedLength), {
      info: infoOf(stream),
    });
  } catch (cause) {
    throw invalid('its header cannot be used', cause);
  }
}

async function openRecord(context: RecipientContext, record: Uint8Array, head: Uint8Array): Promise<Buffer> {
  try {
    return Buffer.from(await context.Open(record, head));
  } catch (cause) {
    throw invalid('a record was changed, left out or put elsewhere', cause);
  }
}

function invalid(why: string, cause?: unknown): CscError {
  const message = `the sealed output cannot be opened: ${why}`;
  return new CscError('SEAL_INVALID', message, cause === undefined ? {} : { cause });
}
