import * as z from 'zod';
import { nonEmptyText } from './text.ts';
import { timestamp } from './timestamp.ts';

/** The `signature` member of a signed artifact (protocol §5). Its bytes are judged where it is verified. */
export const signatureMember = z
  .strictObject({
    algorithm: z.literal('ed25519'),
    key_id: nonEmptyText,
    signed_at: timestamp,
    signature: nonEmptyText.meta({ contentEncoding: 'base64' }),
  })
  .meta({
    id: 'Signature',
    description:
      'Ed25519 over the canonical JSON of the whole object without signature.signature; the other members of the signature are signed too.',
  });
