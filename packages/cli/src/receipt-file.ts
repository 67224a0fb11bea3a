import { writeFileWhole } from './write-file.ts';

/** Writes a signed receipt for people and programs to read: the same JSON, indented. Throws FILE_UNWRITABLE. */
export function writeReceipt(path: string, receiptJson: Uint8Array): void {
  // Signatures are over the canonical form, so that indenting does not touch them.
  const value: unknown = JSON.parse(Buffer.from(receiptJson).toString('utf8'));
  writeFileWhole(path, `${JSON.stringify(value, null, 2)}\n`);
}
