import * as z from 'zod';

const hex = /^[A-Fa-f0-9]{64}$/;
const tagged = /^sha256:[A-Fa-f0-9]{64}$/;

/** SHA-256 in hex. Both cases are read; this project writes lower case. */
export const sha256Member = z
  .string()
  .refine((text) => hex.test(text), { error: 'must be a SHA-256 in hex (64 digits)' })
  .meta({ pattern: hex.source });

/** SHA-256 in hex behind `sha256:`, as receipts give the hashes of output. */
export const taggedSha256Member = z
  .string()
  .refine((text) => tagged.test(text), { error: 'must be "sha256:" and a SHA-256 in hex (64 digits)' })
  .meta({ pattern: tagged.source });
