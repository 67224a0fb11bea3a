import * as z from 'zod';
import { artifactBytes } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import {
  boundedText,
  parseArtifact,
  sha256Member,
  signatureMember,
  validate,
  versionMember,
} from '../schema/index.ts';

/** The rules of a Resolution. */
export const resolutionSchema = z
  .strictObject({
    resolution_version: versionMember('resolution', 'csc.resolution.v0.1'),
    trust_domain: boundedText({ min: 1, max: 255 }),
    execution_id: boundedText({ min: 1, max: 128 }),
    contract_sha256: sha256Member,
    executor_id: boundedText({ min: 1, max: 255 })
      .exactOptional()
      .meta({ description: 'The host that had it. Absent: it is not known that any had.' }),
    reason: boundedText({ min: 1, max: 1000 }),
    signature: signatureMember,
  })
  .meta({
    title: 'CSC Resolution v0.1',
    description:
      'The word of the owners that nobody waits for an execution any more: what of it ran, nobody knows. No receipt.',
  });

/** What an owner signs of an execution whose host does not come back. */
export type Resolution = z.infer<typeof resolutionSchema>;

/** What it is about. */
export type ResolutionSubject = Pick<
  Resolution,
  'trust_domain' | 'execution_id' | 'contract_sha256' | 'executor_id'
>;

/** Reads a resolution from its JSON text. The signature is not verified here: openResolution of evidence/ does that. */
export function parseResolution(bytes: Uint8Array): Parsed<Resolution> {
  return parseArtifact(bytes, artifactBytes.resolution, (value) => validate(resolutionSchema, value));
}
