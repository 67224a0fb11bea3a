import * as z from 'zod';
import { artifactBytes, type JsonValue } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { boundedText, parseArtifact, signatureMember, validate, versionMember } from '../schema/index.ts';

// SPIFFE-ID §2: at most 2048 bytes; that it is one of ours is for whoever reads the certificate to see to.
const executorUri = z
  .string()
  .max(2048)
  .regex(/^spiffe:\/\/[^/]+\/executor\/[^/]+$/, 'must be spiffe://TRUST_DOMAIN/executor/NAME');

/** The rules of an ExecutorKeyStatement. */
export const executorKeySchema = z
  .strictObject({
    executor_key_version: versionMember('executor key statement', 'csc.executor-key.v0.1'),
    executor: executorUri.meta({
      description: 'The whole SPIFFE id of the executor whose receipts it signs.',
    }),
    key_id: boundedText({ min: 1, max: 200 }),
    public_key: z
      .string()
      .length(44)
      .meta({ contentEncoding: 'base64', description: 'The 32 bytes of the Ed25519 key that signs this.' }),
    signature: signatureMember,
  })
  .meta({
    title: 'CSC ExecutorKeyStatement v0.1',
    description: 'An executor claims a receipt key, and proves that it holds the private half.',
  });

/** An executor's claim to a receipt key, signed with that very key. */
export type ExecutorKeyStatement = z.infer<typeof executorKeySchema>;

/** Reads a statement from its JSON text. The signature is not verified here: verifyExecutorKey of evidence/ does that. */
export function parseExecutorKey(bytes: Uint8Array): Parsed<ExecutorKeyStatement> {
  return parseArtifact(bytes, artifactBytes.executorKey, (value: JsonValue) =>
    validate(executorKeySchema, value),
  );
}
