import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readBoundedFile, replaceFile } from '@csc-fleet/common/files';

const name = 'csc-ca.json';

/** Leaves beside a client's certificate which CA renews it. Throws FILE_UNWRITABLE. */
export function keepJoinedCa(dir: string, address: string): string {
  const path = join(dir, name);
  replaceFile(path, `${JSON.stringify({ address })}\n`, 0o644);
  return path;
}

/** `HOST:PORT` of the CA that renews a certificate; undefined where none has been joined. Throws FILE_UNREADABLE. */
export function joinedCaOf(cert: string): string | undefined {
  const path = join(dirname(cert), name);
  if (!existsSync(path)) return undefined;
  const address = /"address":"([^"]+)"/.exec(
    readBoundedFile(path, { maxBytes: 4096 }).bytes.toString('utf8'),
  );
  return address?.[1];
}
