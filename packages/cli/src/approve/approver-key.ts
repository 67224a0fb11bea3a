import { existsSync } from 'node:fs';
import { type Approver, verifyPersonSignature } from '@csc-fleet/common/approval';
import {
  createSigner,
  defaultKeyId,
  type PersonPublicKey,
  type PersonSigner,
  parseSshPublicKey,
  readPrivateKey,
  sshFingerprint,
  toBase64,
} from '@csc-fleet/common/crypto';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { note } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';
import { listAgentKeys, type SshKey, type SshPorts, signBySshKeygen } from './ssh-keygen.ts';

/** A key of the person who is asked, before it is known under which id the owners have it. */
export interface ApproverKeyChoice {
  readonly key: PersonPublicKey;
  /** Where it is, for people. */
  readonly place: string;
  /** As a line of approvers.yaml's `public_key`. */
  readonly publicLine: string;
  signer(keyId: string): PersonSigner;
}

const maxKeyFileBytes = 16 * 1024;

/**
 * The key that `--approver-key` names: the file of a private key (csc keygen's, or OpenSSH's, of a security key too),
 * of a public one whose private half the SSH agent holds, or `agent:FINGERPRINT`; `agent` is its only key that can sign
 * approvals. Rejects with CONFIG_INVALID, KEY_INVALID, FILE_UNREADABLE.
 */
export async function openApproverKey(named: string, ports: SshPorts = {}): Promise<ApproverKeyChoice> {
  if (named === 'agent' || named.startsWith('agent:'))
    return openAgentKey(named.slice('agent:'.length), ports);
  if (!existsSync(named)) throw new CscError('FILE_UNREADABLE', `--approver-key: there is no file ${named}`);
  const { bytes } = readBoundedFile(named, { maxBytes: maxKeyFileBytes });
  const text = Buffer.from(bytes).toString('latin1');
  if (!text.includes('-----BEGIN OPENSSH PRIVATE KEY-----') && !/^(?:sk-)?(?:ssh|ecdsa)-/.test(text))
    return openOwnKey(named);
  const line = text.includes('-----BEGIN') ? readPublicLine(named) : text;
  const key = orThrow(parseSshPublicKey(line), 'KEY_INVALID', named);
  return toSshChoice(line, key, { file: named }, named, ports);
}

// Its public half lies beside it, as ssh-keygen has written it: without that nobody would know what to ask the agent for.
function readPublicLine(file: string): string {
  if (!existsSync(`${file}.pub`))
    throw new CscError(
      'FILE_UNREADABLE',
      `there is no ${file}.pub: make it with ssh-keygen -y -f ${file} > ${file}.pub`,
    );
  const { bytes } = readBoundedFile(`${file}.pub`, { maxBytes: maxKeyFileBytes });
  return Buffer.from(bytes).toString('latin1');
}

function openOwnKey(file: string): ApproverKeyChoice {
  refusePublic(file);
  const seed = readPrivateKey(file);
  const { publicKey } = createSigner(seed, file);
  return {
    key: { kind: 'ed25519', publicKey },
    place: file,
    publicLine: toBase64(publicKey),
    signer: (keyId) => {
      const signer = createSigner(seed, keyId);
      return { keyId, algorithm: 'ed25519', sign: (message) => signer.sign(message) };
    },
  };
}

// Its rights are nobody's business, and no chmod makes a key of it that signs.
function refusePublic(file: string): void {
  if (!file.endsWith('.pub')) return;
  throw new CscError(
    'KEY_INVALID',
    `--approver-key: ${file} is a public key: name the private one beside it`,
  );
}

async function openAgentKey(fingerprint: string, ports: SshPorts): Promise<ApproverKeyChoice> {
  const lines = await listAgentKeys(ports);
  const keys = lines.flatMap((line) => {
    const key = parseSshPublicKey(line);
    return key.ok ? [{ line, key: key.value, fingerprint: fingerprintOf(line) }] : [];
  });
  const found = fingerprint === '' ? keys : keys.filter((it) => it.fingerprint === fingerprint);
  const [one] = found;
  if (one !== undefined && found.length === 1)
    return toSshChoice(
      one.line,
      one.key,
      { agentLine: one.line },
      `the SSH agent’s key ${one.fingerprint}`,
      ports,
    );
  const has =
    keys.length === 0
      ? 'it has none that can sign approvals (ssh-add; Ed25519, or a security key)'
      : `it has ${keys.map((it) => it.fingerprint).join(', ')}`;
  throw new CscError(
    'CONFIG_INVALID',
    fingerprint === ''
      ? `say which key of the SSH agent signs, as --approver-key agent:FINGERPRINT: ${has}`
      : `the SSH agent has no key with the fingerprint ${fingerprint}: ${has}`,
  );
}

function fingerprintOf(line: string): string {
  return sshFingerprint(Buffer.from(line.trim().split(/\s+/)[1] ?? '', 'base64'));
}

function toSshChoice(
  line: string,
  key: PersonPublicKey,
  ssh: SshKey,
  place: string,
  ports: SshPorts,
): ApproverKeyChoice {
  return {
    key,
    place,
    publicLine: line.trim().split(/\s+/).slice(0, 2).join(' '),
    signer: (keyId) => ({
      keyId,
      algorithm: `sshsig-${key.kind}`,
      sign: async (_message, { namespace, payload }) => {
        if (key.kind !== 'ed25519') note(plainLine(`csc: touch the security key (${place})`));
        const made = await signBySshKeygen(ssh, namespace, payload, ports);
        if (Buffer.compare(made.key.publicKey, key.publicKey) !== 0 || made.key.kind !== key.kind)
          throw new CscError(
            'KEY_INVALID',
            `ssh-keygen has signed with another key (${made.fingerprint}) than ${place}`,
          );
        return made.signature;
      },
    }),
  };
}

/**
 * The id that the owners have this key under: by their own file where it is here, or else as the gate says, which can do no
 * more than have it refused.
 */
export function keyIdOf(
  { key }: Pick<ApproverKeyChoice, 'key'>,
  identity: string,
  owners: Approver | undefined,
  told: Readonly<Record<string, string>>,
): string {
  const own = toBase64(key.publicKey);
  const listed = owners?.keys.find((it) => toBase64(it.publicKey) === own);
  if (listed !== undefined) return listed.keyId;
  if (owners !== undefined)
    throw new CscError(
      'KEY_UNKNOWN',
      `the owners’ approvers.yaml has no such key of ${identity}: csc approvals --print-key shows what to ask them for`,
    );
  const named = Object.entries(told);
  const ofGate = named.find(([, publicKey]) => publicKey === own)?.[0];
  if (ofGate !== undefined) return ofGate;
  // A gate of an earlier release names none.
  if (named.length === 0) return defaultKeyId(identity, key.publicKey);
  throw new CscError(
    'KEY_UNKNOWN',
    `the owners’ approvers.yaml has no such key of ${identity}, as the gate has it (${named.map(([id]) => id).join(', ')}): csc approvals --print-key shows what to ask them for`,
  );
}

/** What the owners are to add to approvers.yaml. */
export function describeApprover(identity: string, { publicLine }: ApproverKeyChoice): string {
  return `- identity: ${identity}\n  keys:\n    - public_key: ${publicLine}\n`;
}

/** A signature that does not verify never leaves: a broken key or agent is told of here, and not by a host. */
export function checkSigned(
  artifact: Parameters<typeof verifyPersonSignature>[0],
  { key }: Pick<ApproverKeyChoice, 'key'>,
  now: Date,
): void {
  verifyPersonSignature(artifact, { ...key, keyId: artifact.signature.key_id, touch: false }, now);
}
