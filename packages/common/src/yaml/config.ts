import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { faulty, orThrow, type Parsed, parsed, zodFaults } from '../errors/index.ts';
import { readBoundedFile } from '../files/index.ts';
import { parseStrictYaml } from './index.ts';

const maxBytes = 512 * 1024;

/**
 * Reads a YAML config file, strictly: what parseStrictYaml refuses and what the schema does not know is refused, all
 * of it at once. Throws FILE_UNREADABLE, or CONFIG_INVALID with the faults.
 */
export function readConfig<T>(file: string, schema: z.ZodType<T>): T {
  const { bytes } = readBoundedFile(file, { maxBytes });
  return orThrow(parseConfig(bytes, schema), 'CONFIG_INVALID', file);
}

/** readConfig of a file's bytes. */
export function parseConfig<T>(bytes: Uint8Array, schema: z.ZodType<T>): Parsed<T> {
  const document = parseStrictYaml(bytes, { maxBytes });
  if (!document.ok) return document;
  const result = schema.safeParse(document.value);
  if (result.success) return parsed(result.data);
  const faults = zodFaults(result.error);
  return faults.length > 0 ? { ok: false, faults } : faulty('does not fit its schema');
}

/** A path as a config file means it: relative to the file's directory, not to where the process was started. */
export function resolveFrom(configFile: string, path: string): string {
  return resolve(dirname(configFile), path);
}
