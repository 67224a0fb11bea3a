import { CscError } from '@csc-fleet/common/errors';

/** One thing that this host needs for sandboxes. */
export interface Check {
  /** Short and stable, for example "bwrap-options". */
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly detail: string;
  /** What to do; present where `ok` is false. Where it is true: what would be better, or may be needed. */
  readonly remedy?: string;
}

export function passed(name: string, detail: string): Check {
  return { name, ok: true, detail };
}

export function advised(name: string, detail: string, remedy: string): Check {
  return { name, ok: true, detail, remedy };
}

export function failed(name: string, detail: string, remedy: string): Check {
  return { name, ok: false, detail, remedy };
}

/** Throws SANDBOX_UNAVAILABLE with what to do about each check that failed. */
export function requireChecks(checks: readonly Check[]): void {
  const problems = checks.filter(({ ok }) => !ok);
  if (problems.length === 0) return;
  const text = problems.map(({ detail, remedy }) => `${detail}: ${remedy}`).join('; ');
  throw new CscError('SANDBOX_UNAVAILABLE', `this host cannot run sandboxes. ${text}`);
}
