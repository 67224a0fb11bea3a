import type { X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { isCscError } from '@csc-fleet/common/errors';
import { makeFile, replaceFile } from '@csc-fleet/common/files';
import { validityOf } from '@csc-fleet/common/identity';
import type { TlsPaths } from '@csc-fleet/common/rpc';
import { joinedCaOf } from '../files/joined-ca.ts';

/** What `csc` renews, of whoever uses it. */
export interface OwnCertificate {
  readonly files: TlsPaths;
  /** What `files.cert` holds. */
  readonly certificate: X509Certificate;
}

// Whoever calls csc all the time does not ask a CA that is away all the time, nor waits for it.
const againMs = 5 * 60_000;
const longestMs = 5_000;

/**
 * Has the CA that was joined renew a certificate that is past two thirds of its life, beside what the command does: the
 * process then lives until it is answered, and for 5 s at most. Nothing where no CA was joined, or it was asked a moment ago.
 * @param failed told why it was not renewed, in words; the certificate counts on
 */
export function renewWhenDue(
  { files, certificate }: OwnCertificate,
  now: Date,
  failed: (why: string) => void,
): Promise<void> | undefined {
  const { from, until } = validityOf(certificate);
  const leftMs = until.getTime() - now.getTime();
  if (leftMs <= 0 || leftMs > (until.getTime() - from.getTime()) / 3) return undefined;
  try {
    const address = joinedCaOf(files.cert);
    if (address === undefined || !takeTurn(`${files.cert}.renewal`, now)) return undefined;
    return renew(address, files).catch((error: unknown) => failed(wordsOf(error)));
  } catch (error) {
    failed(wordsOf(error));
    return undefined;
  }
}

async function renew(address: string, files: TlsPaths): Promise<void> {
  const { renewOnce } = await import('@csc-fleet/common/ca');
  const { TlsSource } = await import('@csc-fleet/common/rpc');
  await renewOnce({ address, tls: new TlsSource(files), files, withinMs: longestMs });
}

// Its time of change says when somebody has asked last.
function takeTurn(path: string, now: Date): boolean {
  if (makeFile(path, '', 0o600)) return true;
  const agoMs = now.getTime() - statSync(path).mtimeMs;
  if (agoMs >= 0 && agoMs < againMs) return false;
  replaceFile(path, '', 0o600);
  return true;
}

function wordsOf(error: unknown): string {
  return isCscError(error) || error instanceof Error ? error.message : String(error);
}
