import { hash } from 'node:crypto';
import { toBuffer } from '../encoding/index.ts';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { isAcceptableKey } from './canonical-points.ts';
import { keyLength } from './ed25519.ts';

/** What ssh-keygen -Y sign and an agent sign of a message: PROTOCOL.sshsig of OpenSSH, §3, with SHA-512. */
export function sshsigMessage(namespace: string, message: Uint8Array): Buffer {
  const digest = hash('sha512', message, 'buffer');
  const reserved = '';
  const strings = [namespace, reserved, 'sha512', digest].map((it) => sshString(Buffer.from(it)));
  return Buffer.concat([Buffer.from('SSHSIG'), ...strings]);
}

/** A string of RFC 4251 §5: its length in four bytes, and its bytes. */
export function sshString(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** The strings that these bytes are, one after another; undefined where they are not just that. */
export function readSshStrings(bytes: Uint8Array): Buffer[] | undefined {
  const buffer = toBuffer(bytes);
  const strings: Buffer[] = [];
  for (let at = 0; at < buffer.length; ) {
    if (at + 4 > buffer.length) return undefined;
    const end = at + 4 + buffer.readUInt32BE(at);
    if (end > buffer.length) return undefined;
    strings.push(buffer.subarray(at + 4, end));
    at = end;
  }
  return strings;
}

/** The public key of a person: what kind it is, its bytes, and what a security key was made for. */
export interface PersonPublicKey {
  readonly kind: PersonKeyKind;
  /** 32 bytes of Ed25519, or the 65 of an uncompressed point on P-256. */
  readonly publicKey: Uint8Array;
  /** Of a security key, such as `ssh:`: part of all that it signs. Absent: it is none. */
  readonly application?: string;
}

/** `sk-`: a security key, which says of each signature whether somebody touched it. */
export type PersonKeyKind = 'ed25519' | 'sk-ed25519' | 'sk-ecdsa-p256';

const kinds: ReadonlyMap<string, PersonKeyKind> = new Map([
  ['ssh-ed25519', 'ed25519'],
  ['sk-ssh-ed25519@openssh.com', 'sk-ed25519'],
  ['sk-ecdsa-sha2-nistp256@openssh.com', 'sk-ecdsa-p256'],
]);

/**
 * The key in a line of authorized_keys or of a .pub file: its type, its base64, a comment. A line that begins with options is
 * refused: they would not be heeded here.
 */
export function parseSshPublicKey(line: string): Parsed<PersonPublicKey> {
  const [type = '', base64 = ''] = line.trim().split(/\s+/, 2);
  if (!kinds.has(type)) return faulty(`must begin with one of ${[...kinds.keys()].join(', ')}`);
  const blob = Buffer.from(base64, 'base64');
  if (blob.toString('base64') !== base64) return faulty('must have base64 behind its type');
  const key = readSshPublicKey(blob);
  if (!key.ok) return key;
  return kinds.get(type) === key.value.kind
    ? key
    : faulty(`says ${type}, and its base64 is another kind of key`);
}

/** The key in a public key's own bytes, as agents list them (RFC 8709 §4, PROTOCOL.u2f of OpenSSH). */
export function readSshPublicKey(blob: Uint8Array): Parsed<PersonPublicKey> {
  const [type, ...rest] = readSshStrings(blob) ?? [];
  const kind = kinds.get(type?.toString() ?? '');
  if (kind === undefined) return faulty(`must be one of ${[...kinds.keys()].join(', ')}`);
  if (kind === 'sk-ecdsa-p256') return readEcdsa(rest);
  const [publicKey, application] = rest;
  if (rest.length !== (kind === 'ed25519' ? 1 : 2) || publicKey?.length !== keyLength) return broken;
  if (!isAcceptableKey(publicKey))
    return faulty('is not a canonical Ed25519 public key, or one of small order');
  return parsed(withApplication({ kind, publicKey: Uint8Array.from(publicKey) }, application));
}

// X9.62: 0x04, x, y. That the point is on the curve, whatever verifies sees to.
function readEcdsa(strings: readonly Buffer[]): Parsed<PersonPublicKey> {
  const [curve, point, application] = strings;
  if (strings.length !== 3 || curve?.toString() !== 'nistp256' || point?.length !== 65 || point[0] !== 4)
    return broken;
  return parsed(withApplication({ kind: 'sk-ecdsa-p256', publicKey: Uint8Array.from(point) }, application));
}

const broken = faulty('is no whole public key of its type');

function withApplication(key: PersonPublicKey, application: Buffer | undefined): PersonPublicKey {
  return application === undefined ? key : { ...key, application: application.toString('utf8') };
}
