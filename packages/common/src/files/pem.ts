import { statSync } from 'node:fs';
import { CscError } from '../errors/index.ts';
import { readBoundedFile } from './read-file.ts';

/** A PEM text (RFC 7468), or the path of a file that holds one. */
export type PemSource = string | Uint8Array;

/** What was given where PEM was due. */
export interface GivenPem {
  readonly bytes: Buffer;
  /** Which of the two it was, for an error to say: the path, or `the PEM text given as WHAT`. */
  readonly origin: string;
  /** As in chmod. Absent: it was given as a text. */
  readonly permissions?: number;
}

const begin = '-----BEGIN ';

/** Whether it is the text itself: no path looks like that. Bytes are a text always. */
export function isPemText(given: PemSource): boolean {
  return typeof given !== 'string' || given.includes(begin);
}

/**
 * Reads what was given, as a text or as a path. Line ends that a variable of a CI system has lost or spelled out (`\n`) are
 * put back. Throws FILE_UNREADABLE.
 * @param what which option or member it was
 */
export function readPem(given: PemSource, what: string, maxBytes: number): GivenPem {
  if (isPemText(given)) {
    const bytes = Buffer.from(given);
    const origin = `the PEM text given as ${what}`;
    if (bytes.length <= maxBytes) return { bytes: mendLines(bytes), origin };
    throw new CscError('FILE_UNREADABLE', `${origin} is longer than ${maxBytes} bytes`);
  }
  const path = String(given);
  const { bytes, permissions } = readAsPath(path, what, maxBytes);
  return { bytes: mendLines(bytes), origin: path, permissions };
}

function readAsPath(path: string, what: string, maxBytes: number) {
  try {
    return readBoundedFile(path, { maxBytes });
  } catch (error) {
    if (!(error instanceof CscError)) throw error;
    const message = `${error.message} (${what} was taken as a path, as it has no line in it with which a PEM text begins)`;
    throw new CscError(error.code, message, { cause: error.cause });
  }
}

const block = /-----BEGIN ([A-Z0-9 ]+)-----((?:[A-Za-z0-9+/=\s]|\\[nr])*)-----END \1-----/g;

// RFC 7468 §3: lines of 64. What has headers, or is no base64, is left as it is for its reader to refuse.
function mendLines(bytes: Buffer): Buffer {
  if (!bytes.includes(begin)) return bytes;
  const text = bytes.toString('latin1').replace(block, (_all, label: string, body: string) => {
    const lines = body.replaceAll(/\\[nr]|\s/g, '').match(/.{1,64}/g) ?? [];
    return [`${begin}${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
  });
  return Buffer.from(text, 'latin1');
}

/**
 * Throws CONFIG_INVALID where a PEM holds nothing of what is due, and says what it holds instead.
 * @param due the end of the label that is due: `CERTIFICATE`, `PRIVATE KEY`
 */
export function checkPemHolds({ bytes, origin }: GivenPem, due: string, what: string): void {
  const labels = [...bytes.toString('latin1').matchAll(/-----BEGIN ([A-Z0-9 ]+)-----/g)].map(
    ([, label = '']) => label,
  );
  if (labels.some((label) => label.endsWith(due) && !label.startsWith('ENCRYPTED'))) return;
  const found = labels.length === 0 ? 'nothing in PEM' : [...new Set(labels)].join(' and ');
  const remedy = labels.some((it) => it.startsWith('ENCRYPTED')) ? ': decrypt it with openssl pkey' : '';
  throw new CscError('CONFIG_INVALID', `${origin} holds ${found}, and ${what} must be a PEM ${due}${remedy}`);
}

/**
 * What tells whether a file was written or replaced since; a text never was. A link that is put elsewhere, as Kubernetes
 * does with the files of a secret, makes another inode.
 */
export function looksOfFile(source: PemSource): string {
  if (isPemText(source)) return 'text';
  const stats = statSync(String(source), { throwIfNoEntry: false, bigint: true });
  return stats === undefined ? 'none' : `${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}
