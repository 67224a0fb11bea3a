import * as z from 'zod';
import { hasParentSegment, parsePath } from '../paths/index.ts';

// What protocol §1 takes for absolute: POSIX, Windows drive, UNC. A path such as `//x` passes here, as in the
// reference, and is then denied as PATH_NOT_ABSOLUTE: it names neither a POSIX path nor a share.
const absolute = /^(?:\/|[A-Za-z]:[\\/]|\\\\[^\\/]+[\\/][^\\/]+)/;
const notAbsolute = 'must be an absolute path: /…, C:\\… or \\\\host\\share…';

// The same as parsePath: one slash, a drive, or a host and a share.
const comparable = /^(?:\/(?!\/)|[A-Za-z]:[\\/]|(?:\\\\|\/\/)[^\\/]+[\\/][^\\/]+(?:[\\/]|$))/;

const path = z.string().refine((text) => !text.includes('\0'), { error: 'must not hold a NUL character' });

// For the published schemas: what the refinements below say, as patterns.
const nul = { pattern: '\\u0000' };
const parentSegments = [
  { pattern: '^/(?!/)(?:[\\s\\S]*/)?\\.\\.(?:/|$)' },
  { pattern: '^(?!/(?!/))[\\s\\S]*[\\\\/]\\.\\.(?:[\\\\/]|$)' },
];

/** An absolute path, or a glob, that a contract declares. */
export const declaredPath = path
  .refine((text) => absolute.test(text), { error: notAbsolute })
  .refine((text) => !hasParentSegment(text), { error: 'must not have a ".." segment: write the path out' })
  .meta({
    id: 'DeclaredPath',
    description: 'An absolute path (POSIX, Windows drive or UNC) without ".." segments.',
    pattern: absolute.source,
    not: { anyOf: [nul, ...parentSegments] },
  });

/** An absolute path that a receipt reports. */
export const reportedPath = path
  .refine((text) => absolute.test(text), { error: notAbsolute })
  .meta({
    id: 'ReportedPath',
    description: 'An absolute path (POSIX, Windows drive or UNC).',
    pattern: absolute.source,
    not: nul,
  });

// What looks like a POSIX path with a slash too many would pass for a share, which no host of ours has.
function whyNoPrefix({ input }: { readonly input?: unknown }): string {
  const beginsTwice = typeof input === 'string' && /^(?:\/\/|\\\\)/.test(input);
  if (!beginsTwice) return notAbsolute;
  const slashes = input.startsWith('/') ? 'slashes' : 'backslashes';
  return `begins with two ${slashes}, which is a Windows share and must name its host and share: \\\\host\\share… or //host/share…; a POSIX path begins with one slash`;
}

/** A prefix of a policy. One that could never match anything is a mistake of the policy's author, and refused. */
export const policyPrefix = path
  .refine((text) => parsePath(text) !== undefined, { error: whyNoPrefix })
  .refine((text) => !hasParentSegment(text), {
    error: 'must not have a ".." segment: no path could ever match',
  })
  .meta({
    id: 'PolicyPrefix',
    description: 'An absolute path prefix (POSIX, Windows drive or UNC): /a covers /a and /a/b, not /ab.',
    pattern: comparable.source,
    not: { anyOf: [nul, ...parentSegments] },
  });
