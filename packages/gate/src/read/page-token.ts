import { requestInvalid } from '../bounds/request-invalid.ts';

/** A page token for the executions before this number. It says nothing to whoever holds it. */
export function toPageToken(before: number): string {
  return Buffer.from(`p1:${before}`).toString('base64url');
}

/** The number in a page token; undefined for the first page. Throws REQUEST_INVALID for one that no gate gave. */
export function readPageToken(token: string): number | undefined {
  if (token === '') return undefined;
  const before = Number(/^p1:([1-9]\d{0,15})$/.exec(Buffer.from(token, 'base64url').toString())?.[1]);
  if (Number.isSafeInteger(before) && toPageToken(before) === token) return before;
  throw requestInvalid('page_token', 'is not one that this gate gave: begin again without it');
}
