import { createHash } from 'node:crypto';
import { faulty, type Parsed, parsed } from '../errors/index.ts';
import { parseBase64 } from './base64.ts';
import { signatureLength } from './ed25519.ts';
import type { PersonAlgorithm } from './person-signature.ts';
import { type PersonPublicKey, readSshPublicKey, readSshStrings } from './sshsig.ts';

/** A signature as ssh-keygen -Y sign writes it (PROTOCOL.sshsig of OpenSSH, §3). That it is good is not said by reading it. */
export interface ArmoredSignature {
  readonly key: PersonPublicKey;
  /** `SHA256:` and base64 without padding, as ssh-add -l shows it. */
  readonly fingerprint: string;
  readonly namespace: string;
  readonly algorithm: PersonAlgorithm;
  /** As artifacts have it: 64 bytes, and of a security key its flags and its counter. */
  readonly signature: Uint8Array;
}

// One of these kinds of key has some 300 bytes; namespace and application are texts of somebody.
const maxText = 8192;

/**
 * Reads it: base64 between two lines and nothing beside them, of version 1, over SHA-512, in the only encoding of each
 * member.
 */
export function parseArmoredSignature(text: string): Parsed<ArmoredSignature> {
  const armor = /^-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?$/;
  const base64 = text.length > maxText ? undefined : armor.exec(text)?.[1]?.replaceAll('\n', '');
  const blob = base64 === undefined ? undefined : parseBase64(base64);
  if (blob === undefined) return faulty('is not what ssh-keygen -Y sign writes');
  const bytes = Buffer.from(blob);
  if (bytes.toString('latin1', 0, 6) !== 'SSHSIG' || bytes.length < 10 || bytes.readUInt32BE(6) !== 1)
    return faulty('is no SSHSIG of version 1');
  const [keyBlob, namespace, reserved, hash, made, ...more] = readSshStrings(bytes.subarray(10)) ?? [];
  if (keyBlob === undefined || namespace === undefined || made === undefined || more.length > 0)
    return faulty('is cut off, or has more than belongs there');
  if (reserved?.length !== 0 || hash?.toString('latin1') !== 'sha512')
    return faulty('is not over SHA-512, as signatures of artifacts are');
  const key = readSshPublicKey(keyBlob);
  if (!key.ok) return key;
  const signature = readMade(made, key.value);
  if (signature === undefined) return faulty('holds no signature of its own key’s kind');
  return parsed({
    key: key.value,
    fingerprint: sshFingerprint(keyBlob),
    namespace: namespace.toString('utf8'),
    algorithm: `sshsig-${key.value.kind}`,
    signature,
  });
}

/** Of a public key's own bytes, as ssh-add -l and ssh-keygen -l show it. */
export function sshFingerprint(keyBlob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(keyBlob).digest('base64').replace(/=+$/, '')}`;
}

const typeOf = {
  ed25519: 'ssh-ed25519',
  'sk-ed25519': 'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-p256': 'sk-ecdsa-sha2-nistp256@openssh.com',
} as const;

// RFC 8709 §6; PROTOCOL.u2f: of a security key with flags and counter behind it, which stand in no string.
function readMade(made: Buffer, { kind }: PersonPublicKey): Uint8Array | undefined {
  const end = made.length - (kind === 'ed25519' ? 0 : 5);
  const [type, signature, ...more] = readSshStrings(made.subarray(0, Math.max(end, 0))) ?? [];
  if (type?.toString('latin1') !== typeOf[kind] || signature === undefined || more.length > 0)
    return undefined;
  const own = kind === 'sk-ecdsa-p256' ? readNumbers(signature) : signature;
  return own?.length === signatureLength ? Uint8Array.from([...own, ...made.subarray(end)]) : undefined;
}

// r and s, each an mpint of RFC 4251 §5: a zero in front where it would be negative, and none otherwise.
function readNumbers(signature: Buffer): Uint8Array | undefined {
  const numbers = readSshStrings(signature)?.map((it) => (it[0] === 0 ? it.subarray(1) : it)) ?? [];
  if (numbers.length !== 2 || numbers.some((it) => it.length > 32)) return undefined;
  return Buffer.concat(numbers.flatMap((it) => [Buffer.alloc(32 - it.length), it]));
}
