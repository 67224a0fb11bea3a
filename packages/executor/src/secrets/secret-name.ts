import { CscError } from '@csc-fleet/common/errors';

/**
 * A name becomes a file name, a part of a URL and a path in the sandbox, so it may hold only what means nothing in any
 * of them; `.` and `..` and what starts like an option are out with the first character.
 */
const pattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** Throws CONTRACT_INVALID (names come from contracts, and no host can have such a secret) before anything is asked. */
export function checkSecretName(name: string): void {
  if (pattern.test(name) && !name.includes('..')) return;
  throw new CscError(
    'CONTRACT_INVALID',
    `${JSON.stringify(name)} is not the name of a secret: it takes 1 to 128 letters, digits, "_", "-" and ".", no ".." and no "-" or "." at the start`,
  );
}
