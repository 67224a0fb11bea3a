import { readdirSync } from 'node:fs';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair, type Signer, toBase64 } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { signArtifact } from '@csc-fleet/common/evidence';
import { tokenAudience, tokenSha256 } from '@csc-fleet/common/oidc';
import { createRevocations, parseIssuers } from '@csc-fleet/common/owners';
import { createPolicySet, parseBindings } from '@csc-fleet/common/policy';
import type { UnsignedSubmission } from '@csc-fleet/common/submission';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { githubClaims, githubPrincipal, TestIssuer } from '@csc-fleet/test-kit/issuer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OwnersWord } from './owners.ts';

let bench: Workbench;
let issuer: TestIssuer;
let word: OwnersWord = { policies: createPolicySet([]) };

const issuersOf = (described: object) =>
  orThrow(
    parseIssuers(Buffer.from(JSON.stringify({ issuers_version: 'csc.issuers.v0.1', issuers: [described] }))),
    'POLICY_INVALID',
    'issuers.yaml',
  ).issuers;

const bindings = orThrow(
  parseBindings(
    Buffer.from(
      JSON.stringify({
        bindings_version: 'csc.bindings.v0.2',
        bindings: [{ identity: 'spiffe://csc.local/client/ci.github.acme_2fapp.*', policies: ['test'] }],
      }),
    ),
  ),
  'POLICY_INVALID',
  'bindings.yaml',
);

function say(over: Partial<OwnersWord> = {}): void {
  word = {
    policies: createPolicySet([bench.policy]),
    bindings,
    issuers: issuersOf(issuer.pinned()),
    version: 3,
    refreshedAt: new Date(),
    ...over,
  };
}

beforeAll(async () => {
  issuer = await TestIssuer.make();
  bench = await openWorkbench({
    executor: { submissions: { required: true } },
    deps: { owners: { current: () => word } },
  });
});
afterAll(() => bench.close());

/** A job's key, which is called as what it is. */
function makeKey(): Signer {
  const { seed, publicKey } = generateKeyPair();
  return createSigner(seed, toBase64(publicKey));
}

const tokenFor = (key: Signer, claims: object = {}, options: Parameters<TestIssuer['sign']>[1] = {}) =>
  issuer.sign({ ...githubClaims, aud: tokenAudience('csc.local', key.publicKey), ...claims }, options);

let nonces = 0;

function submit(
  contract: CommandContract,
  key: Signer,
  token: string,
  { over = {}, now = new Date() }: { over?: Partial<UnsignedSubmission>; now?: Date } = {},
): Buffer {
  nonces += 1;
  const unsigned: UnsignedSubmission = {
    submission_version: 'csc.submission.v0.1',
    contract_sha256: contractSha256(contract),
    principal: githubPrincipal,
    nonce: nonces.toString(16).padStart(32, '0'),
    audience: { trust_domain: 'csc.local', selector: {} },
    not_before: toTimestamp(now),
    expires_at: toTimestamp(new Date(Date.now() + 600_000)),
    receipt_version: 'csc.receipt.v0.2',
    options: {},
    approvals: [],
    token_sha256: tokenSha256(token),
    ...over,
  };
  return signArtifact(unsigned, key, now);
}

function marking(): CommandContract {
  const command = { argv: ['sh', '-c', 'echo ran > out/mark'], write_paths: [bench.out] };
  return makeContract(bench.workspace, [command]);
}

interface Offered {
  readonly contract?: CommandContract;
  readonly submission: Buffer;
  readonly token?: string;
  readonly principal?: string;
}

/** What our own gate offers, with its own key, its ticket saying whatever fits. */
const offer = ({ contract = marking(), submission, token, principal = githubPrincipal }: Offered) =>
  bench.gate.offer(contract, bench.policy, {
    submission,
    ...(token === undefined ? {} : { submissionToken: token }),
    ticket: { principal },
  });

async function refusal(offered: Offered): Promise<{ reason: string; message: string }> {
  const { reason, message } = await bench.gate.next('refused', offer(offered));
  expect(readdirSync(bench.out)).toEqual([]);
  // Whoever reads a refusal must not hold the token.
  if (offered.token !== undefined) expect(message).not.toContain(offered.token.slice(-40));
  return { reason, message };
}

describe('a CI job, by a token of an issuer that the owners name', () => {
  it('runs, and the receipt says whose token it was by its hash alone', async () => {
    say();
    const key = makeKey();
    const token = await tokenFor(key);
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const id = offer({ contract, submission: submit(contract, key, token), token });
    const receipt = await bench.gate.receipt(id);
    expect(receipt).toMatchObject({
      status: 'success',
      principal: githubPrincipal,
      identity: {
        issuer: issuer.url,
        subject: githubClaims.sub,
        token_sha256: tokenSha256(token),
        jti: 'jti-1',
        binding: 'key',
      },
    });
    expect(JSON.stringify(receipt)).not.toContain(token.slice(-40));
  });

  it('is not whoever else has its token: signed with another key, it is refused', async () => {
    say();
    const [key, thief] = [makeKey(), makeKey()];
    const token = await tokenFor(key);
    const contract = marking();
    const { reason, message } = await refusal({
      contract,
      submission: submit(contract, thief, token),
      token,
    });
    expect(reason).toBe('SUBMISSION_INVALID');
    expect(message).toMatch(/names another key than the one that signed/);
  });

  it.each([
    ['another trust domain', (key: Signer) => tokenAudience('evil.example', key.publicKey)],
    ['something else', () => 'https://github.com/acme'],
    ['no one', () => undefined],
    ['several', (key: Signer) => [tokenAudience('csc.local', key.publicKey), 'sts.amazonaws.com']],
  ])('is nobody by a token for %s', async (_, aud) => {
    say();
    const key = makeKey();
    const token = await tokenFor(key, { aud: aud(key) });
    const contract = marking();
    const { reason, message } = await refusal({ contract, submission: submit(contract, key, token), token });
    expect([reason, /aud/.test(message)]).toEqual(['SUBMISSION_INVALID', true]);
  });
});

describe('a token that names no key, which the owners allow', () => {
  it('lets its job run, and the receipt says that the binding is weak', async () => {
    const audience = 'https://csc.acme.example';
    say({ issuers: issuersOf(issuer.pinned({ binding: 'weak', audience })) });
    const key = makeKey();
    const token = await tokenFor(key, { aud: audience });
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const receipt = await bench.gate.receipt(
      offer({ contract, submission: submit(contract, key, token), token }),
    );
    expect(receipt).toMatchObject({ status: 'success', identity: { binding: 'weak' } });
    say();
    expect((await refusal({ contract, submission: submit(contract, key, token), token })).message).toMatch(
      /aud/,
    );
  });
});

describe('a gate that was taken over', () => {
  it('cannot have another contract run by a job’s token, nor swap the token or the key', async () => {
    say();
    const [key, own] = [makeKey(), makeKey()];
    const [token, another] = [await tokenFor(key), await tokenFor(key, { jti: 'jti-2' })];
    const contract = marking();
    const submission = submit(contract, key, token);
    // The contract, by its own ticket.
    const swapped = await refusal({ contract: marking(), submission, token });
    expect(swapped.reason).toBe('CONTRACT_HASH_MISMATCH');
    // Another token of the same job, none at all, and its own key under the job's name.
    expect((await refusal({ contract, submission, token: another })).message).toMatch(
      /not the one that the submission/,
    );
    expect((await refusal({ contract, submission })).message).toMatch(/none came/);
    const named = submit(contract, createSigner(generateKeyPair().seed, key.keyId), token);
    expect((await refusal({ contract, submission: named, token })).message).toMatch(
      /does not fit the content/,
    );
    const renamed = submit(contract, own, token);
    expect((await refusal({ contract, submission: renamed, token })).message).toMatch(/another key/);
  });

  it('cannot name another principal than the token comes to', async () => {
    say();
    const key = makeKey();
    const token = await tokenFor(key);
    const contract = marking();
    const principal = githubPrincipal.replace('main', 'release');
    const submission = submit(contract, key, token, { over: { principal } });
    expect((await refusal({ contract, submission, token, principal })).message).toMatch(/it is of/);
  });

  it('runs nothing by a principal, key or issuer that is revoked, nor by an issuer that was taken out', async () => {
    const key = makeKey();
    const token = await tokenFor(key);
    const contract = marking();
    const revoke = (kind: 'principal' | 'key' | 'issuer', id: string) =>
      createRevocations([{ kind, id, since: '2026-11-27T12:00:00Z', reason: 'lost', running: 'finish' }]);
    const submission = () => submit(contract, key, token);
    say({ revocations: revoke('principal', githubPrincipal) });
    expect((await refusal({ contract, submission: submission(), token })).reason).toBe('NOT_PERMITTED');
    say({ revocations: revoke('key', key.keyId) });
    expect((await refusal({ contract, submission: submission(), token })).message).toMatch(/was revoked/);
    say({ revocations: revoke('issuer', issuer.url) });
    expect((await refusal({ contract, submission: submission(), token })).message).toMatch(
      /revoked the issuer https/,
    );
    say({ issuers: [] });
    expect((await refusal({ contract, submission: submission(), token })).message).toMatch(/none of those/);
  });
});

describe('what counts of a token’s time', () => {
  it('is when the submission was made, and for how long after its end the owners let it begin', async () => {
    say();
    const key = makeKey();
    const contract = makeContract(bench.workspace, [{ argv: ['true'] }]);
    const ago = (sec: number) => new Date(Date.now() - sec * 1000);
    const late = async (tokenAgeSec: number, usedSec: number, described: object = {}) => {
      say({ issuers: issuersOf(issuer.pinned(described)) });
      const token = await tokenFor(key, {}, { now: ago(tokenAgeSec) });
      const now = ago(usedSec);
      const submission = submit(contract, key, token, {
        now,
        over: { expires_at: toTimestamp(new Date(now.getTime() + 4 * 3_600_000)) },
      });
      return offer({ contract, submission, token });
    };
    // It ended while it was queued.
    expect(await bench.gate.receipt(await late(1800, 1790))).toMatchObject({ status: 'success' });
    // It had ended before, by more than clocks may differ.
    const { message } = await bench.gate.next('refused', await late(1800, 1300));
    expect(message).toMatch(/had ended/);
    // It lay in the queue for longer than the owners let it.
    const { reason } = await bench.gate.next('refused', await late(1800, 1790, { max_wait_sec: 600 }));
    expect(reason).toBe('SUBMISSION_EXPIRED');
  });
});
