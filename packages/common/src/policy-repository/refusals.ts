import { ExpiredMetadataError } from 'tuf-js/dist/error.js';
import { CscError, isCscError } from '../errors/index.ts';
import { explainFileError } from '../files/index.ts';

/** What there is where nothing comes of a refresh, for people. */
const remains = {
  version: 'the last good version stays',
  nothing: 'there is no earlier version here to go on with',
} as const;
export type Remains = keyof typeof remains;

/** What is told where a file could not be had: what the source says where that is a CscError, else REPOSITORY_UNREACHABLE. */
export function explainSource(error: unknown, left: Remains): CscError {
  return isCscError(error) ? error : unreachable(left, error);
}

/** REPOSITORY_UNREACHABLE, of a source that has no repository. */
export function nothingPublished(left: Remains): CscError {
  const message =
    'no policy repository is published there: name the folder that csc policy publish has written (DIR/published), or have the gate serve it (policy_repository in its config)';
  return unreachable(left, new CscError('REPOSITORY_UNREACHABLE', message));
}

function unreachable(left: Remains, cause: unknown): CscError {
  const until = left === 'version' ? ' until it is too old' : '';
  const what = isCscError(cause) ? `: ${cause.message}` : '';
  const message = `the policy repository could not be read, and ${remains[left]}${until}${what}`;
  return new CscError('REPOSITORY_UNREACHABLE', message, { cause });
}

export function tooSlow(path: string): CscError {
  return new CscError('REPOSITORY_UNREACHABLE', `${path} did not come in time; it is asked for again`);
}

export function tooMuch(): CscError {
  return new CscError('POLICY_INVALID', 'the policy repository holds more or larger files than a host takes');
}

// Beyond the root and the timestamp, tuf-js hands on no error but its text.
const within = '(?:Unable to load (?:snapshot metadata|targets) error Error: )?';
const expired = new RegExp(`^${within}(?:Final )?[a-z]+\\.json is expired$`);
const unwritten = new RegExp(`^${within}Failed to persist metadata .*$`, 's');

/** What tuf-js or the models refuse: POLICY_STALE for what has expired, else POLICY_UNSIGNED. A CscError stays what it is. */
export function explainRefusal(error: unknown, left: Remains): CscError {
  if (isCscError(error)) return error;
  const why = error instanceof Error ? error.message : String(error);
  if (error instanceof ExpiredMetadataError || expired.test(why)) {
    const message = `what the policy repository offers has expired (${why}): publish it again, or see to it that its gate does`;
    return new CscError('POLICY_STALE', message, { cause: error });
  }
  const hint = left === 'version' ? '' : '; is the root that is pinned here that of this repository?';
  const message = `the policy repository was refused, and ${remains[left]}: ${why}${hint}`;
  return new CscError('POLICY_UNSIGNED', message, { cause: error });
}

/** Why this host's own file system did not take what tuf-js writes down; undefined where something else went wrong. */
export function findOwnFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('syscall' in error) return explainFileError(error, 'write');
  return unwritten.exec(error.message)?.[0];
}

/**
 * FILE_UNWRITABLE, of a host that has no room to verify anything.
 * @param faults why, by directory
 */
export function nowhereToVerify(faults: ReadonlyMap<string, string>, left: Remains): CscError {
  const whys = [...faults].map(([directory, why]) => `${directory}: ${why}`).join('; ');
  const message = `what the owners say could not be verified, and ${remains[left]}: its files lie in memory or in the directory of what is kept meanwhile, and neither takes them (${whys}); make room there, or see to it that the service's user may write`;
  return new CscError('FILE_UNWRITABLE', message);
}

/** FILE_UNWRITABLE, of what counts all the same. */
export function explainUnkept(error: unknown, directory: string): CscError {
  const why = isCscError(error) ? error.message : explainFileError(error, 'write');
  const message = `what the owners say counts, and this host could not keep it in ${directory}, so that a restart may not know it: ${why}; make room there, or see to it that the service's user may write`;
  return new CscError('FILE_UNWRITABLE', message, { cause: error });
}
