import type * as z from 'zod';
import { artifactBytes, type JsonValue } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { parseArtifact, validate } from '../schema/index.ts';
import { executorKeySchema } from './schema.ts';

/** An executor's claim to a receipt key, signed with that very key. */
export type ExecutorKeyStatement = z.infer<typeof executorKeySchema>;

/** Reads a statement from its JSON text. The signature is not verified here: verifyExecutorKey of evidence/ does that. */
export function parseExecutorKey(bytes: Uint8Array): Parsed<ExecutorKeyStatement> {
  return parseArtifact(bytes, artifactBytes.executorKey, (value: JsonValue) =>
    validate(executorKeySchema, value),
  );
}
