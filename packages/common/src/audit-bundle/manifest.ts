import * as z from 'zod';
import { parseStrictJson } from '../encoding/index.ts';
import type { Parsed } from '../errors/index.ts';
import { count, nonEmptyText, sha256Member, timestamp, validate, versionMember } from '../schema/index.ts';

/** Where a bundle says what is in it; it and the page are the only files that it does not list. */
export const manifestName = 'MANIFEST.json';
export const pageName = 'index.html';
/** Where things lie in a bundle. */
export const places = {
  receipts: 'receipts/',
  approvals: 'approvals/',
  policies: 'policies/',
  repository: 'repository/',
  log: 'log/',
  audit: 'audit.jsonl',
  ca: 'trust/ca.pem',
  keys: 'trust/keys.json',
  logVkey: 'trust/log.vkey',
} as const;

/**
 * The files of this name at the top of a bundle's policy repository: the published one, by its name, and each version
 * that is kept, with its hash before the name. Not those of a profile that is called the same.
 */
export function findOwnersFiles(
  files: ReadonlyMap<string, Uint8Array>,
  name: 'approvers.yaml' | 'revoked.yaml',
): [string, Uint8Array][] {
  const isIt = new RegExp(`(?:^|[/.])${name.replace('.', '\\.')}$`);
  return [...files].filter(
    ([path]) => path.startsWith(places.repository) && isIt.test(path) && !/\/policies\/[^/]*$/.test(path),
  );
}

/** Files of one bundle, and bytes of all of them, at most. */
export const bundleLimits = { files: 200_000, bytes: 512 * 1024 * 1024, manifest: 64 * 1024 * 1024 };

const path = nonEmptyText.max(1024).refine((text) => isBundlePath(text), {
  error: 'must be a relative path of plain names, with / between them',
});

/** Whether a path leads to something within a folder, wherever that is unpacked. */
export function isBundlePath(text: string): boolean {
  return /^[A-Za-z0-9_@:%+=,-][A-Za-z0-9_.@:%+=,-]*(\/[A-Za-z0-9_@:%+=,-][A-Za-z0-9_.@:%+=,-]*)*$/.test(text);
}

/** The rules of a bundle's manifest. */
export const manifestSchema = z
  .strictObject({
    bundle_version: versionMember('bundle', 'csc.audit-bundle.v0.1'),
    made_at: timestamp,
    software: nonEmptyText,
    gate: nonEmptyText
      .exactOptional()
      .meta({ description: 'Whom receipts and audit are from. Absent: no gate.' }),
    asked: z
      .record(z.string(), z.string())
      .meta({ description: 'The filters of the audit. Empty: all of it.' }),
    files: z.array(z.strictObject({ path, bytes: count, sha256: sha256Member })).max(bundleLimits.files),
    left_out: z
      .array(z.strictObject({ execution_id: nonEmptyText, code: nonEmptyText, message: z.string() }))
      .meta({ description: 'Executions whose receipt could not be had, or did not count, and why.' }),
  })
  .meta({ title: 'CSC audit bundle v0.1', description: 'What is in a folder of evidence, by hash.' });

export type Manifest = z.infer<typeof manifestSchema>;

/** Reads a manifest; that its files are there and as it says, verifyBundle looks at. */
export function parseManifest(bytes: Uint8Array): Parsed<Manifest> {
  const json = parseStrictJson(bytes, { maxBytes: bundleLimits.manifest });
  return json.ok ? validate(manifestSchema, json.value) : json;
}
