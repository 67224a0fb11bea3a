import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { nodeEd25519, parseBase64, type Signer, toBase64 } from '../crypto/index.ts';
import { toBuffer } from '../encoding/index.ts';
import { CscError, faulty, type Parsed, parsed, quoteBriefly } from '../errors/index.ts';

/** The kinds of signature that are made and verified here: a log's own, and a witness's with its time. */
const signatureTypes = { ed25519: 1, cosignature: 4 } as const;

/** Which of them a key is for. */
export type NoteKeyType = keyof typeof signatureTypes;

/** Whose signatures on notes count: what a vkey says (C2SP signed-note). */
export interface NoteKey {
  /** Such as `example.com/log`: without blanks, and without a plus sign. */
  readonly name: string;
  readonly type: NoteKeyType;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** One line below a note. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: number;
  readonly signature: Uint8Array;
}

/** A note, with nothing in it verified. */
export interface Note {
  /** With the last line feed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A longer note is refused unread. */
export const maxNoteBytes = 64 * 1024;

const maxSignatures = 64;
const keyNamePattern = /^[^\s+\u0000-\u001f]{1,255}$/u;

/** True for what can be the name of a key, and an origin here. */
export function isKeyName(name: string): boolean {
  return keyNamePattern.test(name);
}

/** The first four bytes of the hash over name, type and key, the highest first. */
export function keyIdOf({ name, type, publicKey }: NoteKey): number {
  const head = Buffer.from(`${name}\n`);
  return hash(
    'sha256',
    Buffer.concat([head, Uint8Array.of(signatureTypes[type]), publicKey]),
    'buffer',
  ).readUInt32BE(0);
}

/** `NAME+ID+BASE64`, as owners and clients pin it. */
export function formatVkey(key: NoteKey): string {
  const id = keyIdOf(key).toString(16).padStart(8, '0');
  return `${key.name}+${id}+${toBase64(Buffer.concat([Uint8Array.of(signatureTypes[key.type]), key.publicKey]))}`;
}

/** Reads a vkey of one of the two types. */
export function parseVkey(text: string): Parsed<NoteKey> {
  const found = /^([^+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$/u.exec(text);
  const [, name = '', id = '', encoded = ''] = found ?? [];
  if (found === null || !isKeyName(name)) return faulty('is no vkey: NAME+ID+KEY, as csc prints it');
  const bytes = parseBase64(encoded);
  const type = (['ed25519', 'cosignature'] as const).find((it) => signatureTypes[it] === bytes?.[0]);
  if (bytes === undefined || type === undefined)
    return faulty('is a vkey of another type: Ed25519, 1, and cosignature/v1, 4, are known');
  const key = { name, type, publicKey: bytes.subarray(1) };
  return keyIdOf(key) === Number.parseInt(id, 16)
    ? parsed(key)
    : faulty('is a vkey whose id is not that of its name and key: a character of it was changed');
}

/** Reads a note. The text is what stands before its last empty line. */
export function parseNote(bytes: Uint8Array): Parsed<Note> {
  if (bytes.length > maxNoteBytes) return faulty(`is longer than ${maxNoteBytes} bytes`);
  if (!isUtf8(bytes)) return faulty('is not UTF-8');
  const all = toBuffer(bytes).toString('utf8');
  if (hasControls(all)) return faulty('has control characters');
  const at = all.lastIndexOf('\n\n');
  if (at < 0 || !all.endsWith('\n')) return faulty('is no signed note: a text, an empty line, signatures');
  const lines = all.slice(at + 2, -1).split('\n');
  if (lines.length > maxSignatures) return faulty(`has more than ${maxSignatures} signatures`);
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignatureLine(line);
    if (signature === undefined) return faulty(`has a line that is no signature: ${quoteBriefly(line)}`);
    signatures.push(signature);
  }
  return parsed({ text: all.slice(0, at + 1), signatures });
}

/** One line of a note's signatures, without its line feed; undefined where it is none. */
export function parseSignatureLine(line: string): NoteSignature | undefined {
  const [dash, name, encoded, ...rest] = line.split(' ');
  if (dash !== '—' || name === undefined || encoded === undefined || rest.length > 0) return undefined;
  const bytes = parseBase64(encoded);
  if (!isKeyName(name) || bytes === undefined || bytes.length <= 4) return undefined;
  return { name, keyId: Buffer.from(bytes).readUInt32BE(0), signature: bytes.subarray(4) };
}

/** The same, written. */
export function formatSignatureLine({ name, keyId, signature }: NoteSignature): string {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(keyId);
  return `— ${name} ${toBase64(Buffer.concat([id, signature]))}\n`;
}

export function formatNote({ text, signatures }: Note): string {
  return `${text}\n${signatures.map(formatSignatureLine).join('')}`;
}

// Of ASCII, all but the line feed.
function hasControls(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x20 && code !== 0x0a) return true;
  }
  return false;
}

/** A log's own signature on a text. */
export function signText(text: string, name: string, signer: Signer): NoteSignature {
  const key: NoteKey = { name, type: 'ed25519', publicKey: signer.publicKey };
  return { name, keyId: keyIdOf(key), signature: signer.sign(Buffer.from(text)) };
}

/**
 * A witness's signature on a text, with the time at which it holds (C2SP tlog-cosignature, cosignature/v1).
 * @param seconds since 1970
 */
export function cosignText(text: string, name: string, signer: Signer, seconds: number): NoteSignature {
  const key: NoteKey = { name, type: 'cosignature', publicKey: signer.publicKey };
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(seconds));
  const signature = Buffer.concat([time, signer.sign(cosigned(text, BigInt(seconds)))]);
  return { name, keyId: keyIdOf(key), signature };
}

function cosigned(text: string, seconds: bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
}

/** A key of those that count that has signed a note. */
export interface NoteVoucher {
  readonly key: NoteKey;
  /** Seconds since 1970; undefined for a log's own signature, which has none. */
  readonly seconds: bigint | undefined;
}

/**
 * Which of these keys have signed a note, the newest cosignature of each. Signatures of others are passed over. Throws
 * LOG_INVALID where one with the name and id of a known key is not by it.
 */
export function vouchersOf({ text, signatures }: Note, keys: readonly NoteKey[]): NoteVoucher[] {
  const found: NoteVoucher[] = [];
  for (const key of keys) {
    const keyId = keyIdOf(key);
    for (const it of signatures) {
      if (it.name !== key.name || it.keyId !== keyId) continue;
      const seconds = verifyLine(text, key, it.signature);
      if (seconds === 'bad')
        throw new CscError('LOG_INVALID', `the signature of ${key.name} on the checkpoint does not verify`);
      const at = found.findIndex((other) => other.key === key);
      if (at < 0) found.push({ key, seconds });
      else if ((found[at]?.seconds ?? 0n) < (seconds ?? 0n)) found[at] = { key, seconds };
    }
  }
  return found;
}

function verifyLine(
  text: string,
  { type, publicKey }: NoteKey,
  signature: Uint8Array,
): NoteVoucher['seconds'] | 'bad' {
  if (type === 'ed25519')
    return nodeEd25519.verify(Buffer.from(text), signature, publicKey) ? undefined : 'bad';
  if (signature.length !== 72) return 'bad';
  const seconds = Buffer.from(signature).readBigUInt64BE(0);
  if (seconds > maxSeconds) return 'bad';
  return nodeEd25519.verify(cosigned(text, seconds), signature.subarray(8), publicKey) ? seconds : 'bad';
}

const maxSeconds = 2n ** 63n - 1n;
