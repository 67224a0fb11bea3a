import { hash } from 'node:crypto';

/** Lower-case hex SHA-256; a string is hashed as UTF-8. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex');
}

/** The form of stdout_hash and stderr_hash: `sha256:` and lower-case hex. */
export function sha256Tagged(data: string | Uint8Array): string {
  return `sha256:${sha256Hex(data)}`;
}
