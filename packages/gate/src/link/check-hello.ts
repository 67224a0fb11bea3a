import { CscError, quoteBriefly } from '@csc-fleet/common/errors';
import { type Identity, uncertifiedLabel } from '@csc-fleet/common/identity';
import type { Hello } from '@csc-fleet/common/messages';
import type { Scheduler } from '../schedule/scheduler.ts';

// Labels are the executor's choice: 64 of the longest would be 20 KB of log for each connection.
const maxLoggedLength = 512;

/** Labels as a log line has them, cut off where they are long. */
export function summarizeLabels(labels: Readonly<Record<string, string>>): string {
  const text = Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
  return text.length <= maxLoggedLength ? text : `${text.slice(0, maxLoggedLength)}…`;
}

/**
 * Throws CREDENTIALS_INVALID for a label that the certificate does not say: what a host may be sent hangs on its labels.
 * @param certified those of the certificate; undefined: it says nothing of labels
 */
export function checkLabels(
  { labels }: Hello,
  certified: Readonly<Record<string, string>> | undefined,
): void {
  const other = certified === undefined ? undefined : uncertifiedLabel(labels, certified);
  if (other === undefined) return;
  const message = `this executor's certificate does not say the label ${quoteBriefly(other)} as it does: leave it out, or join anew with it`;
  throw new CscError('CREDENTIALS_INVALID', message);
}

/**
 * Throws CREDENTIALS_INVALID where another host is connected with the same certificate: with a journal each, both could be
 * given the same execution.
 */
export function checkAlone({ peers }: Pick<Scheduler, 'peers'>, { uri }: Identity, hello: Hello): void {
  const connected = peers.get(uri);
  if (connected === undefined || connected.receiptKey.keyId === hello.receiptKeyId) return;
  throw new CscError(
    'CREDENTIALS_INVALID',
    'this executor is connected with another receipt key: does another host have its certificate?',
  );
}
