import * as z from 'zod';
import { quoteBriefly } from '../errors/index.ts';

/**
 * The version member of an artifact, with an error of its own for any other version.
 * @param what names the artifact in that error, for example `contract`
 */
export function versionMember<const T extends string>(what: string, version: T) {
  return z.literal(version, { error: ({ input }) => unsupportedVersion(what, input, version) });
}

/** Undefined, for the usual message, where there is no version at all. */
export function unsupportedVersion(what: string, given: unknown, readable: string): string | undefined {
  if (given === undefined) return undefined;
  const shown = typeof given === 'string' ? quoteBriefly(given) : `of type ${typeof given}`;
  return `unsupported ${what} version ${shown}; this build reads ${readable}`;
}
