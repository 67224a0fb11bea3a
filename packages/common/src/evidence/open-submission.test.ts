import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createKeyRing, createSigner } from '../crypto/index.ts';
import { canonicalBytes, toTimestamp } from '../encoding/index.ts';
import { isCscError } from '../errors/index.ts';
import { parseSubmission, submissionSha256, type UnsignedSubmission } from '../submission/index.ts';
import { openSubmission, type SubmissionContext, signArtifact, signSubmission } from './index.ts';

const now = new Date('2026-11-27T12:00:00Z');
const alice = 'spiffe://csc.local/client/alice';
const signer = createSigner(Buffer.alloc(32, 1), 'alice-1');
const mallory = createSigner(Buffer.alloc(32, 2), 'alice-1');

const unsigned: UnsignedSubmission = {
  submission_version: 'csc.submission.v0.1',
  contract_sha256: 'a'.repeat(64),
  principal: alice,
  policy_profile: 'build',
  nonce: '0123456789abcdef0123456789abcdef',
  audience: { trust_domain: 'csc.local', selector: { tier: 'build' } },
  not_before: '2026-11-27T12:00:00Z',
  expires_at: '2026-11-27T12:10:00Z',
  receipt_version: 'csc.receipt.v0.2',
  options: {},
  approvals: [],
};

const context: SubmissionContext = {
  keysOf: (principal) => (principal === alice ? createKeyRing([signer]) : undefined),
  trustDomain: 'csc.local',
  now,
  contractSha256: 'A'.repeat(64),
  host: { executorId: 'build-1', labels: { tier: 'build', os: 'debian' } },
};

function codeOf(submission: UnsignedSubmission, over: Partial<SubmissionContext> = {}, by = signer): string {
  try {
    openSubmission(signArtifact(submission, by, now), { ...context, ...over });
    return 'opened';
  } catch (error) {
    if (isCscError(error)) return error.code;
    throw error;
  }
}

/** The same submission under a signature that ssh-keygen made with a key of its own. */
function signedBySshKeygen(namespace: string) {
  const folder = mkdtempSync(join(tmpdir(), 'csc-sshsig-'));
  try {
    const key = join(folder, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    const members = { algorithm: 'sshsig-ed25519', key_id: 'ssh-1', signed_at: toTimestamp(now) } as const;
    const input = canonicalBytes({ ...unsigned, signature: members });
    const armoured = execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-n', namespace, '-f', key], { input });
    // The last 64 bytes of the file are the signature, the last 32 of the public key's the key.
    const bytes = Buffer.from(armoured.toString().replace(/-----.*-----|\s/g, ''), 'base64').subarray(-64);
    const publicKey = Buffer.from(readFileSync(`${key}.pub`, 'utf8').split(' ')[1] ?? '', 'base64').subarray(
      -32,
    );
    const text = canonicalBytes({
      ...unsigned,
      signature: { ...members, signature: bytes.toString('base64') },
    });
    return { text, keys: createKeyRing([{ keyId: 'ssh-1', publicKey }]) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('a submission', () => {
  it('says what its principal signed', () => {
    const bytes = signArtifact(unsigned, signer, now);
    expect(openSubmission(bytes, context)).toMatchObject({ ...unsigned });
  });

  it('is named by the hash of all of it, the signature included', () => {
    const [one, two] = [signer, mallory].map((by) => parseSubmission(signArtifact(unsigned, by, now)));
    if (one?.ok !== true || two?.ok !== true) throw new Error('they are none');
    expect(submissionSha256(one.value)).not.toBe(submissionSha256(two.value));
  });

  it.each<[string, UnsignedSubmission, Partial<SubmissionContext>, string]>([
    [
      'of a principal without keys',
      { ...unsigned, principal: 'spiffe://csc.local/client/bob' },
      {},
      'SUBMISSION_INVALID',
    ],
    [
      'of another trust domain',
      { ...unsigned, audience: { trust_domain: 'other', selector: {} } },
      {},
      'WRONG_AUDIENCE',
    ],
    [
      'for a domain that its principal is not of',
      { ...unsigned, audience: { trust_domain: 'other', selector: {} } },
      { trustDomain: 'other' },
      'WRONG_AUDIENCE',
    ],
    [
      'for another host',
      { ...unsigned, audience: { ...unsigned.audience, executor_id: 'build-2' } },
      {},
      'WRONG_AUDIENCE',
    ],
    [
      'for hosts with another label',
      { ...unsigned, audience: { trust_domain: 'csc.local', selector: { tier: 'deploy' } } },
      {},
      'WRONG_AUDIENCE',
    ],
    ['of another contract', { ...unsigned, contract_sha256: 'b'.repeat(64) }, {}, 'CONTRACT_HASH_MISMATCH'],
    ['that is over', unsigned, { now: new Date('2026-11-27T12:11:00Z') }, 'SUBMISSION_EXPIRED'],
    ['that is not yet to be', unsigned, { now: new Date('2026-11-27T11:58:59Z') }, 'SUBMISSION_INVALID'],
    ['for two days', { ...unsigned, expires_at: '2026-11-29T12:00:00Z' }, {}, 'SUBMISSION_INVALID'],
    [
      'that was signed before it begins, when an old key was valid',
      { ...unsigned, not_before: '2026-11-27T12:02:00Z' },
      { now: new Date('2026-11-27T12:03:00Z') },
      'SUBMISSION_INVALID',
    ],
    [
      'of a key that was good when it signed, and is not any more',
      unsigned,
      {
        now: new Date('2026-11-27T12:05:01Z'),
        keysOf: () => createKeyRing([{ ...signer, notAfter: new Date('2026-11-27T12:05:00Z') }]),
      },
      'SUBMISSION_INVALID',
    ],
    ['with a nonce that is none', { ...unsigned, nonce: 'again' }, {}, 'SUBMISSION_INVALID'],
  ])('is refused: one %s', (_, submission, over, code) => {
    expect(codeOf(submission, over)).toBe(code);
  });

  it('is refused where another key signed it under the id of the right one', () => {
    expect(codeOf(unsigned, {}, mallory)).toBe('SUBMISSION_INVALID');
  });

  describe('signed by an SSH agent', () => {
    it('is opened where the signature is ssh-keygen’s own', () => {
      const { text, keys } = signedBySshKeygen('csc.submission.v0.1');
      expect(openSubmission(text, { ...context, keysOf: () => keys }).signature.algorithm).toBe(
        'sshsig-ed25519',
      );
    });

    it('is refused where the same key signed for something else', () => {
      const { text, keys } = signedBySshKeygen('git');
      expect(() => openSubmission(text, { ...context, keysOf: () => keys })).toThrow(/does not fit/);
    });

    it('is refused under the name of the other way of signing', async () => {
      const plain = { ...signer, algorithm: 'sshsig-ed25519' } as const;
      const text = await signSubmission(unsigned, plain, now);
      expect(openSubmission(text, context).nonce).toBe(unsigned.nonce);
      const renamed = text.toString().replace('sshsig-ed25519', 'ed25519');
      expect(() => openSubmission(Buffer.from(renamed), context)).toThrow(/does not fit/);
    });
  });

  it('is opened by a gate, which knows no host yet', () => {
    const { host: _host, ...atGate } = context;
    const text = signArtifact(
      { ...unsigned, audience: { ...unsigned.audience, executor_id: 'x' } },
      signer,
      now,
    );
    expect(openSubmission(text, atGate).audience.executor_id).toBe('x');
  });
});
