/*
 * People and scripts give a key where its path is due: `--key "$(cat me.key)"`. Whatever then says that there is no such
 * file would print the key, to a terminal or into the log of a CI run. So nothing that looks like one gets into a message.
 */

// PEM (RFC 7468), also without its end, as it may have been cut; but not over the end of a quoted text, so that a line
// of JSON stays one.
const pem = /-----BEGIN[^"']*?(?:-----END[^"'\n\\-]*-----|(?=["'])|$)/g;
// The base64 of a DER sequence, as PKCS#8, SEC1 and PKCS#1 keys begin; any padded base64; and a full line of PEM.
const derBase64 = /\bM(?:C[4-9][A-Z]|G[A-Za-z]|H[A-Za-z0-9]|I[A-Z])[A-Za-z0-9+/]{20,}={0,2}/g;
const paddedBase64 = /[A-Za-z0-9+/]{20,}={1,2}(?![A-Za-z0-9])/g;
const pemLine =
  /(?<![A-Za-z0-9+/._-])(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*\d)[A-Za-z0-9+/]{64}(?![A-Za-z0-9+/._-])/g;

// Whoever has one may join the fleet: see ca/token.ts.
const joinToken = /csc-join-\d+\.[A-Za-z0-9_-]*/g;

/** The text with what may be a key left out. What it cannot tell is a key of hexadecimal digits from a hash. */
export function withoutSecrets(text: string): string {
  return text
    .replace(joinToken, '(a join token, not shown)')
    .replace(pem, '(a PEM text, not shown)')
    .replace(derBase64, notShown)
    .replace(paddedBase64, notShown)
    .replace(pemLine, notShown);
}

const notShown = '(what may be a key, not shown)';

/** The same for an error underneath, which keeps its code: Node puts the path that it was given into most of its own. */
export function causeWithoutSecrets(cause: unknown): unknown {
  if (!(cause instanceof Error)) return typeof cause === 'string' ? withoutSecrets(cause) : cause;
  const inner = causeWithoutSecrets(cause.cause);
  const told = [cause.message, ...Object.values(cause).filter((it) => typeof it === 'string')];
  if (inner === cause.cause && told.every((text) => withoutSecrets(text) === text)) return cause;
  const safe = new Error(withoutSecrets(cause.message), inner === undefined ? {} : { cause: inner });
  safe.name = cause.name;
  safe.stack = withoutSecrets(cause.stack ?? '');
  return 'code' in cause && typeof cause.code === 'string' ? Object.assign(safe, { code: cause.code }) : safe;
}
