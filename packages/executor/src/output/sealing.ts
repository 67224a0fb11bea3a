import { createSealer, type SealedStream, type Sealer } from '@csc-fleet/common/seal';
import type { OutputFilter } from './spool.ts';

/**
 * What has passed the mask, sealed: nothing of it reaches a disk or a gate otherwise. Rejects where it cannot be sealed, and
 * whoever captures it then has nothing.
 */
export function sealingFilter(
  mask: OutputFilter | undefined,
  publicKey: Uint8Array,
  stream: SealedStream,
): OutputFilter {
  let made: Promise<Sealer> | undefined;
  const sealer = (): Promise<Sealer> => {
    made ??= createSealer(publicKey, stream);
    return made;
  };
  const seal = async (plain: Buffer): Promise<Buffer> =>
    plain.length === 0 ? plain : (await sealer()).push(plain);
  return {
    push: async (chunk) => seal(mask === undefined ? chunk : await mask.push(chunk)),
    end: async () => {
      const rest = mask === undefined ? Buffer.alloc(0) : await mask.end();
      const sealed = await seal(rest);
      return Buffer.concat([sealed, made === undefined ? Buffer.alloc(0) : await (await made).end()]);
    },
  };
}
