import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { unavailable } from './refusal.ts';

const maxBytes = 4096;
// Tokens of all kinds (hvs., s., JWTs), and nothing that could end a header.
const pattern = /^[\x21-\x7e]+$/;

/**
 * The token in a file, which an agent may replace at any time: read anew each time, never kept. Its group may read it,
 * as Vault's agent leaves it by default (0640), the rest of the world may not. Throws SANDBOX_UNAVAILABLE.
 */
export function readTokenFile(path: string): string {
  const { bytes, permissions } = read(path);
  if ((permissions & 0o027) !== 0) {
    throw unavailable(`the token file ${path} may be read or written by others: run chmod 600 ${path}`);
  }
  const token = bytes.toString('latin1').trim();
  if (!pattern.test(token))
    throw unavailable(`${path} does not hold a token: it takes one line of printable ASCII`);
  return token;
}

function read(path: string): ReturnType<typeof readBoundedFile> {
  try {
    return readBoundedFile(path, { maxBytes });
  } catch (error) {
    if (error instanceof CscError) throw unavailable(`the token file: ${error.message}`, error);
    throw error;
  }
}
