import { readdirSync } from 'node:fs';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import { createSigner, type Signer, toBase64 } from '@csc-fleet/common/crypto';
import { toTimestamp } from '@csc-fleet/common/encoding';
import { orThrow } from '@csc-fleet/common/errors';
import { signArtifact } from '@csc-fleet/common/evidence';
import { createRevocations, parseHosts, type Revocation } from '@csc-fleet/common/owners';
import { createPolicySet, type PolicyDocument, parseBindings } from '@csc-fleet/common/policy';
import { type Log, silentLog } from '@csc-fleet/common/service';
import type { UnsignedSubmission } from '@csc-fleet/common/submission';
import { expect } from 'vitest';
import type { OwnersWord } from '../../../packages/executor/src/admission/owners.ts';
import { makeContract } from '../contract.ts';
import type { OfferOverrides } from './scripted-gate.ts';
import { makePolicy, openWorkbench, type Workbench } from './workbench.ts';

export const alice = 'spiffe://csc.local/client/alice';
export const bob = 'spiffe://csc.local/client/bob';

const keys: Record<string, Signer> = {
  [alice]: createSigner(Buffer.alloc(32, 1), 'alice-1'),
  [bob]: createSigner(Buffer.alloc(32, 2), 'bob-1'),
};

/** The key that submissions of alice or bob are signed with. */
export function signerOf(principal: string): Signer {
  const signer = keys[principal];
  if (signer === undefined) throw new Error(`${principal} has no key`);
  return signer;
}

const entry = ([principal, { keyId, publicKey }]: [string, Signer]) => `
  - principal: ${principal}
    keys: [{key_id: ${keyId}, public_key: "${toBase64(publicKey)}"}]`;

/** Bindings of alice and bob to profiles. */
export function bindings(
  more = '',
  bobs = '[other]',
  alices = '[test]',
): NonNullable<OwnersWord['bindings']> {
  const text = `bindings_version: csc.bindings.v0.2
bindings:
  - identity: ${alice}
    policies: ${alices}${more}
  - identity: ${bob}
    policies: ${bobs}
submitters:${Object.entries(keys).map(entry).join('')}
`;
  return orThrow(parseBindings(Buffer.from(text)), 'POLICY_INVALID', 'the bindings');
}

/** What hosts.yaml says with these rules. */
export function hosts(rules: string) {
  const text = `hosts_version: csc.hosts.v0.1\nhosts:\n${rules}`;
  return orThrow(parseHosts(Buffer.from(text)), 'POLICY_INVALID', 'hosts').hosts;
}

export function revoked(kind: Revocation['kind'], id: string, running: Revocation['running'] = 'finish') {
  return createRevocations([{ kind, id, since: '2026-11-27T12:00:00Z', reason: 'it was lost', running }]);
}

/** A host whose owners say who may submit what, and a gate that offers it what it likes. */
export class OwnedHost {
  /** What its owners say. */
  word: OwnersWord = { policies: createPolicySet([]) };
  #open: { readonly bench: Workbench; readonly other: PolicyDocument } | undefined;
  #nonces = 0;

  /** Opens it, anew where it was open. */
  async open(
    submissions: object = { required: true },
    log: Log = silentLog,
    acceptUnsignedApprovals = false,
  ): Promise<void> {
    await this.close();
    const bench = await openWorkbench({
      executor: { labels: { tier: 'build' }, submissions, acceptUnsignedApprovals },
      deps: { owners: { current: () => this.word }, log },
      policyLines: ['allow_secret_refs: true'],
    });
    const other = makePolicy(bench.workspace, ['name: other', 'max_timeout_sec: 3600']);
    this.#open = { bench, other };
    this.word = {
      policies: createPolicySet([bench.policy, other]),
      bindings: bindings(),
      version: 7,
      refreshedAt: new Date(),
    };
  }

  async close(): Promise<void> {
    await this.#open?.bench.close();
    this.#open = undefined;
  }

  get bench(): Workbench {
    return this.#opened.bench;
  }

  /** The profile that bob is bound to. */
  get other(): PolicyDocument {
    return this.#opened.other;
  }

  /** A submission of alice's. */
  unsigned(contract: CommandContract, now = new Date()): UnsignedSubmission {
    this.#nonces += 1;
    return {
      submission_version: 'csc.submission.v0.1',
      contract_sha256: contractSha256(contract),
      principal: alice,
      policy_profile: 'test',
      nonce: this.#nonces.toString(16).padStart(32, '0'),
      audience: { trust_domain: 'csc.local', selector: {} },
      not_before: toTimestamp(now),
      expires_at: toTimestamp(new Date(Date.now() + 600_000)),
      receipt_version: 'csc.receipt.v0.2',
      options: {},
      approvals: [],
    };
  }

  submit(
    contract: CommandContract,
    over: Partial<UnsignedSubmission> = {},
    by?: Signer,
    now = new Date(),
  ): Buffer {
    const submission = { ...this.unsigned(contract, now), ...over };
    return signArtifact(submission, by ?? signerOf(submission.principal), now);
  }

  /** A contract that would leave a file. */
  marking(over: Parameters<typeof makeContract>[2] = {}): CommandContract {
    const { out, workspace } = this.bench;
    const command = { argv: ['sh', '-c', 'echo ran > out/mark'], write_paths: [out] };
    return makeContract(workspace, [command], over);
  }

  /** What the gate offers by itself: its ticket says whatever it likes. */
  offer(contract: CommandContract, over: OfferOverrides, policy = this.bench.policy): string {
    return this.bench.gate.offer(contract, policy, { ...over, ticket: { principal: alice, ...over.ticket } });
  }

  /** Why the offer is refused; makes sure that nothing ran. */
  async reasonOf(contract: CommandContract, over: OfferOverrides, policy?: PolicyDocument): Promise<string> {
    const { reason } = await this.bench.gate.next('refused', this.offer(contract, over, policy));
    expect(readdirSync(this.bench.out)).toEqual([]);
    return reason;
  }

  get #opened() {
    if (this.#open === undefined) throw new Error('the host is yet to be opened');
    return this.#open;
  }
}
