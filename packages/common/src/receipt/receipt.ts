import type * as z from 'zod';
import {
  artifactBytes,
  canonicalBytes,
  type EncodableObject,
  isJsonObject,
  type JsonValue,
  sha256Hex,
} from '../encoding/index.ts';
import { faulty, type Parsed } from '../errors/index.ts';
import { parseArtifact, unsupportedVersion, validate } from '../schema/index.ts';
import { receiptV01Schema } from './schema-v01.ts';
import { type endings, receiptV02Schema } from './schema-v02.ts';

/** What really happened (protocol §7). */
export type ReceiptV01 = z.infer<typeof receiptV01Schema>;
/** What really happened, command by command (protocol §9). */
export type ReceiptV02 = z.infer<typeof receiptV02Schema>;
/** Tell them apart by receipt_version. */
export type ExecutionReceipt = ReceiptV01 | ReceiptV02;
export type CommandResult = ReceiptV02['commands'][number];
export type SandboxReport = NonNullable<ReceiptV02['sandbox']>;
export type Ending = (typeof endings)[number];
export type ReceiptVersion = ExecutionReceipt['receipt_version'];

/** The receipt versions that this build reads and writes. */
export const receiptVersions = ['csc.receipt.v0.1', 'csc.receipt.v0.2'] as const;

/** Reads a receipt of either version, signed or not, from its JSON text. The signature is not verified here. */
export function parseReceipt(bytes: Uint8Array): Parsed<ExecutionReceipt> {
  return parseArtifact(bytes, artifactBytes.receipt, receiptFromJson);
}

/** Validates a receipt that is parsed already. */
export function receiptFromJson(value: JsonValue): Parsed<ExecutionReceipt> {
  const version = isJsonObject(value) ? value['receipt_version'] : undefined;
  if (version === 'csc.receipt.v0.2') return validate(receiptV02Schema, value);
  if (version === 'csc.receipt.v0.1' || version === undefined) return validate(receiptV01Schema, value);
  const message = unsupportedVersion('receipt', version, receiptVersions.join(' and '));
  return faulty(message ?? 'is required', 'receipt_version');
}

/** Lower-case hex SHA-256 of a receipt as it stands, signature and nulls included: what the next one refers to. */
export function receiptSha256(receipt: EncodableObject): string {
  return sha256Hex(canonicalBytes(receipt, { keepNulls: true }));
}
