import { dirname, resolve } from 'node:path';
import * as z from 'zod';
import { CscError, faulty, orThrow, type Parsed, parsed, zodFaults } from '../errors/index.ts';
import { isPemText, readBoundedFile } from '../files/index.ts';
import { parseStrictYaml } from './index.ts';

const maxBytes = 512 * 1024;

/**
 * Reads a YAML config file, strictly: what parseStrictYaml refuses and what the schema does not know is refused, all
 * of it at once. Throws FILE_UNREADABLE, or CONFIG_INVALID with the faults, or where everyone may read a private key in it.
 * @param service whose config it is: that of the other has faults without end, and one reason. Absent: nobody's of these
 */
export function readConfig<T>(file: string, schema: z.ZodType<T>, service?: Service): T {
  const { bytes, permissions } = readBoundedFile(file, { maxBytes });
  if ((permissions & 0o007) !== 0 && /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(bytes.toString('latin1'))) {
    const message = `${file} holds a private key and may be read by everyone: run chmod 600 ${file}`;
    throw new CscError('CONFIG_INVALID', message);
  }
  const config = parseConfig(bytes, schema);
  if (!config.ok && service !== undefined) checkWhose(file, bytes, service);
  return orThrow(config, 'CONFIG_INVALID', file);
}

type Service = 'gate' | 'executor';

/** What only this one's config has, and must have. */
const marks: Readonly<Record<Service, string>> = { gate: 'data_dir', executor: 'state_dir' };

function checkWhose(file: string, bytes: Uint8Array, service: Service): void {
  const other = service === 'gate' ? 'executor' : 'gate';
  const document = parseStrictYaml(bytes, { maxBytes });
  const members = document.ok ? Object.keys(document.value ?? {}) : [];
  if (members.includes(marks[service]) || !members.includes(marks[other])) return;
  const whose = other === 'gate' ? 'a gate’s' : 'an executor’s';
  const message = `${file} looks like ${whose} config (it has ${marks[other]}): name that of the ${service}`;
  throw new CscError('CONFIG_INVALID', message);
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

/** The schema of a path in a config file, which gives it absolute. */
export function pathIn(configFile: string) {
  return z
    .string()
    .min(1)
    .transform((path) => resolveFrom(configFile, path));
}

/** A path or a PEM text in a config file: the path as resolveFrom has it, the text as it is. */
export function resolvePem(configFile: string, given: string): string {
  return isPemText(given) ? given : resolveFrom(configFile, given);
}

/** The schema of that. */
export function pemIn(configFile: string) {
  return z
    .string()
    .min(1)
    .transform((given) => resolvePem(configFile, given));
}

/** `max_queued` as `maxQueued`. */
type CamelCase<Name> = Name extends `${infer Word}_${infer Rest}`
  ? `${Word}${Capitalize<CamelCase<Rest>>}`
  : Name;

type CamelKeys<T> = { readonly [Name in keyof T as CamelCase<Name>]: T[Name] };

/**
 * What a config file says, under the names that code has for it: a transform for the schema of an object. Only the
 * object's own names change, as what is in it may be data.
 */
export function camelKeys<T extends object>(value: T): CamelKeys<T> {
  const entries = Object.entries(value).map(([name, member]) => [
    name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase()),
    member,
  ]);
  return Object.fromEntries(entries) as CamelKeys<T>;
}
