import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSigner, type PersonSigner, sshString } from '../crypto/index.ts';
import {
  type Approvers,
  parseApprovers,
  parseBreakGlass,
  parseSignedApproval,
  signApproval,
  signBreakGlass,
  type UnsignedApproval,
  verifyPersonSignature,
} from './index.ts';

const now = new Date('2026-11-28T12:00:00Z');
const alice = 'spiffe://csc.local/client/alice';
const own = createSigner(Buffer.alloc(32, 1), 'alice-file');
const agent = createSigner(Buffer.alloc(32, 2), 'alice-agent');
const sk = createSigner(Buffer.alloc(32, 3), 'alice-sk');
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const approval: UnsignedApproval = {
  approval_version: 'csc.approval.v0.2',
  approval_id: 'a'.repeat(32),
  contract_sha256: 'b'.repeat(64),
  policy_profile: 'deploy',
  policy_sha256: 'c'.repeat(64),
  principal: 'spiffe://csc.local/client/ci',
  submission_sha256: 'd'.repeat(64),
  audience: { trust_domain: 'csc.local' },
  verdict: 'approve',
  approver: { identity: alice, method: 'cli' },
  group: 'release',
  approved_at: '2026-11-28T12:00:00Z',
  expires_at: '2026-11-28T13:00:00Z',
  scope: 'single_execution',
};

const sshLine = (...strings: (string | Uint8Array)[]): string =>
  `${strings[0]} ${Buffer.concat(strings.map((it) => sshString(Buffer.from(it)))).toString('base64')} a comment`;

function ecdsaPoint(): Buffer {
  const { x = '', y = '' } = p256.publicKey.export({ format: 'jwk' });
  return Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
}

const approversYaml = (more = ''): string => `approvers_version: csc.approvers.v0.1
approvers:
  - identity: ${alice}
    keys:
      - {key_id: alice-file, public_key: "${Buffer.from(own.publicKey).toString('hex')}"}
      - {key_id: alice-agent, public_key: "${sshLine('ssh-ed25519', agent.publicKey)}"}
      - {key_id: alice-sk, public_key: "${sshLine('sk-ssh-ed25519@openssh.com', sk.publicKey, 'ssh:')}"}
      - {key_id: alice-p256, public_key: "${sshLine('sk-ecdsa-sha2-nistp256@openssh.com', 'nistp256', ecdsaPoint(), 'ssh:')}"}
groups:
  - {name: release, members: ["${alice}"]}
${more}`;

function read(text: string): Approvers {
  const file = parseApprovers(Buffer.from(text));
  if (!file.ok) throw new Error(JSON.stringify(file.faults));
  return file.value;
}

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** A security key: what it signs of a message (PROTOCOL.u2f), with these flags. */
const token = (keyId: string, flags: number, application = 'ssh:'): PersonSigner => ({
  keyId,
  algorithm: keyId === 'alice-sk' ? 'sshsig-sk-ed25519' : 'sshsig-sk-ecdsa-p256',
  sign: (message) => {
    const trailer = Buffer.from([flags, 0, 0, 0, 7]);
    const signed = Buffer.concat([sha256(Buffer.from(application)), trailer, sha256(message)]);
    const signature =
      keyId === 'alice-sk'
        ? sk.sign(signed)
        : sign('sha256', signed, { key: p256.privateKey, dsaEncoding: 'ieee-p1363' });
    return Buffer.concat([signature, trailer]);
  },
});

async function verify(
  signer: PersonSigner,
  approvers = read(approversYaml()),
  change: object = {},
): Promise<void> {
  const parsed = parseSignedApproval(await signApproval(approval, signer, now));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.faults));
  const { key_id: keyId } = parsed.value.signature;
  const key = approvers.find(alice)?.keys.find((it) => it.keyId === keyId);
  if (key === undefined) throw new Error('no key');
  verifyPersonSignature({ ...parsed.value, ...change }, key, now);
}

const fileKey: PersonSigner = { ...own, algorithm: 'ed25519' };
const agentKey: PersonSigner = { ...agent, algorithm: 'sshsig-ed25519' };

describe('a signed approval', () => {
  it.each([
    ['a key in a file', fileKey],
    ['an agent', agentKey],
    ['a security key that was touched', token('alice-sk', 1)],
    ['a security key on P-256 that was touched', token('alice-p256', 5)],
  ])('is verified: of %s', async (_, signer) => {
    await expect(verify(signer)).resolves.toBeUndefined();
    await expect(verify(signer, undefined, { verdict: 'reject' })).rejects.toThrow(/does not fit/);
  });

  it.each(['alice-sk', 'alice-p256'])(
    'of a security key that nobody touched does not count: %s',
    async (id) => {
      await expect(verify(token(id, 0))).rejects.toThrow(/nobody touched/);
      const untouched = approversYaml().replaceAll(/"\}\n/g, '", touch: false}\n');
      await expect(verify(token(id, 0), read(untouched))).resolves.toBeUndefined();
    },
  );

  it.each(['alice-sk', 'alice-p256'])('of a security key is for its application: %s', async (id) => {
    await expect(verify(token(id, 1, 'ssh:other'))).rejects.toThrow(/does not fit/);
  });

  it('says how it was signed, and was not signed otherwise', async () => {
    await expect(verify({ ...fileKey, algorithm: 'sshsig-sk-ed25519' })).rejects.toThrow(
      /and the key is ed25519/,
    );
    const asIfFile: PersonSigner = { ...agentKey, algorithm: 'ed25519' };
    await expect(verify(asIfFile)).resolves.toBeUndefined();
    const relabelled = async (): Promise<void> => {
      const parsed = parseSignedApproval(await signApproval(approval, agentKey, now));
      if (!parsed.ok) throw new Error('');
      const signature = { ...parsed.value.signature, algorithm: 'ed25519' as const };
      const key = read(approversYaml()).find(alice)?.keys[1];
      if (key !== undefined) verifyPersonSignature({ ...parsed.value, signature }, key, now);
    };
    await expect(relabelled()).rejects.toThrow(/does not fit/);
  });

  it('is no break-glass, nor the other way round', async () => {
    const { approval_version: _, approval_id: __, verdict: ___, scope: ____, ...subject } = approval;
    const glass = await signBreakGlass(
      {
        ...subject,
        break_glass_version: 'csc.break_glass.v0.1',
        break_glass_id: 'e'.repeat(32),
        reason: 'the site is down',
      },
      fileKey,
      now,
    );
    expect(parseBreakGlass(glass).ok).toBe(true);
    expect(parseSignedApproval(glass).ok).toBe(false);
    expect(parseBreakGlass(await signApproval(approval, fileKey, now)).ok).toBe(false);
  });
});

describe('approvers.yaml', () => {
  it('says who is in which group, by whichever identity', () => {
    const approvers = read(approversYaml().replace('    keys:', `    also: ["${alice}-laptop"]\n    keys:`));
    expect(approvers.personOf(`${alice}-laptop`)).toMatchObject({ identity: alice, groups: ['release'] });
    expect(approvers.find(`${alice}-laptop`)).toBeUndefined();
  });

  it.each([
    [
      'one key of two people',
      approversYaml().replace(
        'groups:',
        `  - {identity: "${alice}-2", keys: [{key_id: x, public_key: "${Buffer.from(own.publicKey).toString('base64')}"}]}\ngroups:`,
      ),
      'approvers[1].keys[0].public_key',
    ],
    [
      'one person as two',
      approversYaml().replace('    keys:', `    also: ["${alice}"]\n    keys:`),
      'approvers[0].also[0]',
    ],
    [
      'a member who is no approver',
      approversYaml('  - {name: other, members: ["spiffe://csc.local/client/bob"]}'),
      'groups[1].members[0]',
    ],
    [
      'a break-glass group that is not there',
      approversYaml('break_glass: {groups: [nobody]}'),
      'break_glass.groups[0]',
    ],
    [
      'a break-glass that lasts too long',
      approversYaml('break_glass: {groups: [release], max_sec: 3601}'),
      'break_glass.max_sec',
    ],
    [
      'a key behind options',
      approversYaml().replace('"ssh-ed25519', '"no-touch-required ssh-ed25519'),
      'approvers[0].keys[1].public_key',
    ],
  ])('is refused with %s', (_, text, path) => {
    const file = parseApprovers(Buffer.from(text));
    expect(file.ok ? [] : file.faults.map((it) => it.path)).toEqual([path]);
  });
});
