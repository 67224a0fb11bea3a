import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { defaultKeyId, signatureLength } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import type { SubmissionSigner } from '@csc-fleet/common/evidence';

// The agent's protocol is draft-ietf-sshm-ssh-agent, its strings are RFC 4251's.
const requestIdentities = 11;
const identitiesAnswer = 12;
const signRequest = 13;
const signResponse = 14;

// A person may be asked first; OpenSSH's own agents answer with less than 256 KiB.
const answerMs = 120_000;
const maxAnswerBytes = 256 * 1024;

/** What signs submissions with a key that the SSH agent holds, and which key that is. */
export interface AgentKey extends SubmissionSigner {
  /** `SHA256:` and base64 without padding, as ssh-add -l shows it. */
  readonly fingerprint: string;
}

/**
 * An Ed25519 key of the SSH agent, which signs submissions with it; the private half stays there. Rejects with
 * CONFIG_INVALID where there is no agent, no such key, or several to choose from.
 * @param owner whom it signs for, a SPIFFE id: the key id begins with its name
 * @param fingerprint as ssh-add -l shows it. Absent: the only one
 * @param socketPath of the agent. Absent: SSH_AUTH_SOCK
 */
export async function openSshAgentKey(
  owner: string,
  fingerprint?: string,
  socketPath = process.env['SSH_AUTH_SOCK'] ?? '',
): Promise<AgentKey> {
  if (socketPath === '')
    throw configInvalid('there is no SSH agent: start one, and set SSH_AUTH_SOCK (ssh-agent(1))');
  const blobs = readIdentities(await ask(socketPath, Buffer.from([requestIdentities]), identitiesAnswer));
  const keys = blobs.flatMap((blob) => toEd25519(blob) ?? []);
  const found = fingerprint === undefined ? keys : keys.filter((it) => it.fingerprint === fingerprint);
  const [key] = found;
  if (key === undefined || found.length > 1) throw notOne(keys, fingerprint);
  const { publicKey } = key;
  return {
    keyId: defaultKeyId(owner, publicKey),
    publicKey,
    fingerprint: key.fingerprint,
    algorithm: 'sshsig-ed25519',
    sign: async (message) => {
      const flags = Buffer.alloc(4);
      const request = [Buffer.from([signRequest]), sshString(key.blob), sshString(message), flags];
      return readSignature(await ask(socketPath, Buffer.concat(request), signResponse));
    },
  };
}

interface Ed25519Key {
  readonly blob: Buffer;
  readonly publicKey: Buffer;
  readonly fingerprint: string;
}

// RFC 8709 §4: the name of the algorithm and the 32 bytes, each a string.
function toEd25519(blob: Buffer): Ed25519Key | undefined {
  const strings = readStrings(blob);
  const [name, publicKey] = strings;
  if (strings.length !== 2 || name?.toString() !== 'ssh-ed25519' || publicKey?.length !== 32)
    return undefined;
  const hash = createHash('sha256').update(blob).digest('base64').replace(/=+$/, '');
  return { blob, publicKey, fingerprint: `SHA256:${hash}` };
}

function notOne(keys: readonly Ed25519Key[], fingerprint: string | undefined): CscError {
  if (keys.length === 0)
    return configInvalid('the SSH agent has no Ed25519 key: add one (ssh-keygen -t ed25519; ssh-add)');
  const has = `it has ${keys.map((it) => it.fingerprint).join(', ')}`;
  return fingerprint === undefined
    ? configInvalid(`say which of the SSH agent's Ed25519 keys signs, by its fingerprint: ${has}`)
    : configInvalid(`the SSH agent has no Ed25519 key with the fingerprint ${fingerprint}: ${has}`);
}

// The count says nothing that the strings do not.
function readIdentities(answer: Buffer): Buffer[] {
  return readStrings(answer.subarray(4)).filter((_, index) => index % 2 === 0);
}

// RFC 8709 §6: the name of the algorithm and the 64 bytes.
function readSignature(answer: Buffer): Buffer {
  const [name, signature] = readStrings(readStrings(answer)[0] ?? Buffer.alloc(0));
  if (name?.toString() === 'ssh-ed25519' && signature?.length === signatureLength) return signature;
  throw new CscError('KEY_INVALID', "the SSH agent's answer is no Ed25519 signature");
}

function readStrings(bytes: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new CscError('KEY_INVALID', "the SSH agent's answer breaks off");
    strings.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return strings;
}

function sshString(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** One question, one answer of the type due, without that type. */
async function ask(socketPath: string, question: Buffer, type: number): Promise<Buffer> {
  const socket = connect(socketPath);
  try {
    socket.setTimeout(answerMs, () => socket.destroy(new Error('it does not answer')));
    socket.write(sshString(question));
    const answer = await readAnswer(socket);
    if (answer[0] === type) return answer.subarray(1);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'it does not answer';
    throw new CscError('CONFIG_INVALID', `the SSH agent at ${socketPath} is of no use: ${why}`, { cause });
  } finally {
    socket.destroy();
  }
  throw new CscError('KEY_INVALID', 'the SSH agent would not sign: is it locked, or was it declined?');
}

async function readAnswer(socket: Socket): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    if (bytes.length > maxAnswerBytes) throw new Error('its answer is too long');
    if (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0))
      return bytes.subarray(4, 4 + bytes.readUInt32BE(0));
  }
  throw new Error('it hung up');
}

function configInvalid(message: string): CscError {
  return new CscError('CONFIG_INVALID', message);
}
