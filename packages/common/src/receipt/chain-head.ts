import * as z from 'zod';
import { artifactBytes, type JsonValue } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import {
  epochMember,
  integer,
  nonEmptyText,
  parseArtifact,
  sha256Member,
  signatureMember,
  validate,
  versionMember,
} from '../schema/index.ts';

/** The rules of a ChainHead. */
export const chainHeadSchema = z
  .strictObject({
    chain_head_version: versionMember('chain head', 'csc.chain-head.v0.1'),
    executor: nonEmptyText.meta({ minLength: 1, description: 'The whole SPIFFE id of the executor.' }),
    executor_epoch: epochMember,
    sequence: integer({ min: 1 }),
    receipt_sha256: sha256Member.meta({ description: 'Of the v0.2 receipt with that number.' }),
    signature: signatureMember,
  })
  .meta({
    title: 'CSC ChainHead v0.1',
    description:
      'The newest receipt of an executor, signed with its receipt key: no chain of it ends earlier.',
  });

/** How far the chain of an executor goes, signed by that executor. */
export type ChainHead = z.infer<typeof chainHeadSchema>;

/** Reads a chain head from its JSON text. The signature is not verified here: openChainHead of evidence/ does that. */
export function parseChainHead(bytes: Uint8Array): Parsed<ChainHead> {
  return parseArtifact(bytes, artifactBytes.executorKey, (value: JsonValue) =>
    validate(chainHeadSchema, value),
  );
}
