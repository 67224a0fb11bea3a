import { createHash, generateKeyPairSync, sign as signWith } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { signApproval } from '@csc-fleet/common/approval';
import {
  createSigner,
  generateKeyPair,
  type PersonSigner,
  type Signer,
  sshString,
} from '@csc-fleet/common/crypto';
import { makeDirectory } from '@csc-fleet/common/files';
import {
  addFiles,
  initRepository,
  publishStaged,
  rootBytes,
  signStaged,
} from '@csc-fleet/common/policy-repository';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import {
  BundleOfHost,
  certificatesOf,
  LogOfBundle,
  receiptFiles,
  relist,
  vkeyOf,
} from '@csc-fleet/test-kit/cli/audit-bundle';
import { forgeReceipt, readReceipt } from '@csc-fleet/test-kit/cli/exported-receipts';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { publishUnread } from '@csc-fleet/test-kit/policy-repository';
import { csc } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const host = new BundleOfHost();
const { ca, owner, scratch, signer, exported } = host;

beforeAll(() => host.open());

afterAll(() => host.close());

const log = new LogOfBundle();

describe('an audit bundle', () => {
  const nonce = 'a'.repeat(32);
  const identity = 'spiffe://csc.local/client/alice';
  const approvalOf = ({ contract_sha256, policy_sha256 = '' }: ReceiptV02) =>
    ({
      approval_version: 'csc.approval.v0.2',
      approval_id: nonce,
      verdict: 'approve',
      contract_sha256,
      policy_profile: 'p',
      policy_sha256,
      submission_sha256: 'any',
      principal: 'spiffe://csc.local/client/bob',
      approver: { identity, method: 'cli' },
      group: 'release',
      scope: 'single_execution',
      audience: { trust_domain: 'csc.local' },
      approved_at: '2026-01-01T00:00:00Z',
      expires_at: '2026-01-01T01:00:00Z',
    }) as const;
  const usedOf = (artifact: string) =>
    ({
      approval_id: nonce,
      approver: identity,
      scope: 'single_execution',
      kind: 'approval',
      group: 'release',
      sha256: createHash('sha256').update(artifact).digest('hex'),
      artifact,
    }) as const;

  it('names what stood in for approvals, and does not hide one that its person has not signed for it', async () => {
    const alice = generateKeyPair();
    const person = createSigner(alice.seed, 'alice-key');
    const { signers, lines } = keysOfEachKind();
    const pem = JSON.stringify(alice.publicPem);
    const approvers = [
      'approvers_version: csc.approvers.v0.1',
      'approvers: # of alice alone',
      `- identity: ${identity}`,
      '  keys:',
      `  - {key_id: alice-key, public_key: ${pem}}`,
      ...lines.map((line, index) => `  - {key_id: ${signers[index]?.keyId}, public_key: "${line}"}`),
      'groups:',
      `- {name: release, members: ["${identity}"]}`,
      '',
    ].join('\n');
    const [epoch = ''] = readdirSync(exported);
    const approval = approvalOf(readReceipt(join(exported, epoch), 4));
    type Approval = Omit<typeof approval, 'approver'> & { approver: { identity: string; method: 'cli' } };
    const signBy = async (own: Approval, by: PersonSigner) =>
      (await signApproval(own, by, new Date())).toString();
    const sign = (own: Approval, by: Signer) =>
      signBy(own, { keyId: 'alice-key', algorithm: 'ed25519', sign: (it) => by.sign(it) });
    const lookAt = (
      artifact: string | string[],
      kind: 'approval' | 'break_glass' = 'approval',
      approver = identity,
    ) =>
      host.look((dir, [, , , last = '']) => {
        makeDirectory(join(dir, 'repository/targets'));
        writeFileSync(join(dir, 'repository/targets/0a.approvers.yaml'), approvers);
        const approvals = [
          ...[artifact].flat().map((it) => ({ ...usedOf(it), approver, kind })),
          { approval_id: 'a-2', approver: 'carol', scope: 'single_execution' },
        ];
        const principal = 'spiffe://csc.local/client/bob';
        writeFileSync(
          last,
          forgeReceipt(dirname(last), 4, signer, { principal, approvals, ...certificatesOf(last) }),
        );
      });
    const good = await lookAt([
      await sign(approval, person),
      ...(await Promise.all(signers.map((it) => signBy(approval, it)))),
    ]);
    expect([...good.kinds]).toEqual(['file']);
    expect(good.approvals).toEqual({ signed: 4, unknown: 0 });
    expect(good.shown.text).toContain('4 approvals signed by keys of approvers.yaml in repository/, 0 by');
    expect(good.shown.text).toContain(`${identity} of release (${nonce}): signature verified`);
    expect(good.shown.text).not.toContain('approval: ');
    expect(good.shown.text).toContain('carol, unsigned: as its gate said (a-2)');
    const forged = await lookAt(await sign(approval, createSigner(generateKeyPair().seed, 'alice-key')));
    expect(forged.kinds).toEqual(new Set(['file', 'approval']));
    expect(forged.shown.text).toMatch(/approval: .* does not fit the content and the key/);
    expect(forged.shown.text).toContain(`${identity} of release (${nonce}): NOT VERIFIED — the signature`);
    expect(forged.shown.text).toContain('0 approvals signed by keys');
    // With a real key of hers, under the name of somebody whom the owners do not name.
    const mallory = 'spiffe://csc.local/client/mallory';
    const theirs = { ...approval, approver: { identity: mallory, method: 'cli' } } as const;
    const stranger = await lookAt(await sign(theirs, person), 'approval', mallory);
    expect(stranger.approvals).toEqual({ signed: 0, unknown: 1 });
    expect(stranger.shown.text).toContain(`${mallory} of release (${nonce}): NOT VERIFIED: by no key`);
    expect(stranger.shown.text).toContain(
      '0 approvals signed by keys of approvers.yaml in repository/, 1 by',
    );
    for (const [audience, what] of [
      [{ trust_domain: 'other.example' }, 'trust domain'],
      [{ trust_domain: 'csc.local', executor_id: 'executor-2' }, 'executor'],
    ] as const) {
      const elsewhere = await lookAt(await sign({ ...approval, audience } as unknown as Approval, person));
      expect(elsewhere.kinds).toEqual(new Set(['file', 'approval']));
      expect(elsewhere.shown.text).toContain(`what the person signed is for another ${what}`);
    }
    const others = await lookAt(await sign({ ...approval, contract_sha256: '0'.repeat(64) }, person));
    expect(others.kinds).toEqual(new Set(['file', 'approval']));
    expect(others.shown.text).toContain('what the person signed is for another contract');
    const glass = await lookAt(await sign(approval, person), 'break_glass');
    expect(glass.shown.text).toContain('what the person signed is for another kind');
    expect(glass.shown.text).toContain(
      `GLASS BROKEN, without approval, by ${identity} of release (${nonce})`,
    );
  }, 30_000);

  describe('is held against the owners’ root', () => {
    const [alice, mallory, ownersKey, gateKey] = ['alice-key', 'alice-key', 'owner', 'online'].map((name) =>
      createSigner(generateKeyPair().seed, name),
    ) as [Signer, Signer, Signer, Signer];
    const alias = 'spiffe://csc.local/client/alice-at-work';
    const logYaml = `log_version: csc.log.v0.1\nvkey: ${log.vkey}\n`;
    const people = (by: Signer) =>
      `approvers_version: csc.approvers.v0.1\napprovers: [{identity: ${identity}, also: [${alias}], keys: [{key_id: alice-key, public_key: ${Buffer.from(by.publicKey).toString('hex')}}]}]\ngroups: [{name: release, members: ["${identity}"]}]\n`;
    const revoked = (kind: 'key' | 'principal', id: string, since: string) =>
      `revoked_version: csc.revoked.v0.1\nrevoked: [{kind: ${kind}, id: "${id}", since: "${since}", reason: left}]\n`;
    const filesOf = (by: Signer) => ({
      'policies/test.yaml': JSON.stringify(host.bench.policy.written ?? host.bench.policy.policy),
      'bindings.yaml':
        'bindings_version: csc.bindings.v0.2\nbindings: [{identity: "spiffe://csc.local/client/*", policies: [test]}]\n',
      'approvers.yaml': people(by),
    });

    /** The path of a repository with these versions. */
    function publishAs(
      name: string,
      by: Signer,
      versions: readonly Record<string, string>[],
      now = new Date(),
    ): string {
      const dir = join(scratch, name);
      const own = { publicKeys: [by.publicKey], threshold: 1 };
      initRepository(dir, { root: own, targets: own, online: gateKey.publicKey }, now);
      for (const version of versions) {
        addFiles(dir, new Map(Object.entries(version).map(([path, text]) => [path, Buffer.from(text)])));
        signStaged(dir, by, now);
        publishStaged(dir, gateKey, now);
      }
      return dir;
    }

    function rootOf(repository: string): string {
      const path = `${repository}-root.json`;
      writeFileSync(path, rootBytes(repository));
      return path;
    }

    interface Change {
      readonly change?: (dir: string) => void;
      readonly receipt?: Partial<ReceiptV02>;
      /** The repository whose root is pinned. Absent: the one that is in it. */
      readonly pinned?: string;
    }

    /** What csc says by itself, and with a root, of a bundle with a repository, whose last receipt has an approval. */
    async function judge(
      repository: string,
      by: Signer,
      { change, receipt, pinned = repository }: Change = {},
    ) {
      const dir = host.copy();
      cpSync(join(repository, 'published'), join(dir, 'repository'), { recursive: true });
      const last = receiptFiles(dir).at(-1) ?? '';
      const approval = approvalOf(readReceipt(dirname(last), 4));
      const signed = {
        keyId: 'alice-key',
        algorithm: 'ed25519',
        sign: (it: Uint8Array) => by.sign(it),
      } as const;
      const approvals = [usedOf((await signApproval(approval, signed, new Date())).toString())];
      const members = {
        principal: approval.principal,
        policy_version: 1,
        approvals,
        ...certificatesOf(last),
      };
      writeFileSync(last, forgeReceipt(dirname(last), 4, signer, { ...members, ...receipt }));
      change?.(dir);
      relist(dir);
      const tell = async (...trust: string[]) => {
        const given = ['audit', 'verify-bundle', dir, '--fleet-ca', ca, ...trust];
        const { code, stdout } = await csc([...given, '--json']);
        const said = JSON.parse(stdout) as {
          owners: object;
          approvals: object;
          faults: { readonly kind: string; readonly message: string }[];
        };
        const text = said.faults.map((it) => `${it.kind}: ${it.message}`).join('\n');
        return { code, ...said, given, text };
      };
      return { own: await tell(), held: await tell('--owners-root', rootOf(pinned)) };
    }

    function replaceIn(dir: string, text: string, as: string): void {
      const [there = ''] = readdirSync(join(dir, 'repository/targets')).filter((it) => it.endsWith(`.${as}`));
      const hash = createHash('sha256').update(text).digest('hex');
      rmSync(join(dir, 'repository/targets', there));
      writeFileSync(join(dir, 'repository/targets', `${hash}.${as}`), text);
    }

    let owners = '';

    beforeAll(() => {
      const later = {
        'revoked.yaml': revoked('key', 'alice-key', '2099-01-01T00:00:00Z'),
        'log.yaml': logYaml,
      };
      owners = publishAs('owners', ownersKey, [filesOf(alice), later], new Date('2025-01-01T00:00:00Z'));
    });

    it('and holds where all is theirs', async () => {
      const good = await judge(owners, alice);
      expect(good.held).toMatchObject({ code: 0, faults: [], approvals: { signed: 1, unknown: 0 } });
      expect(good.held.owners).toMatchObject({ verified: true, root: 1, receipts_without_version: 2 });
      const heldText = (await csc(good.held.given)).stdout;
      expect(heldText).toMatch(
        /version 1 of the owners’ files, signed at 2025-.* by keys of root 1, .*: 1 runs/,
      );
      expect(good.own).toMatchObject({ code: 0, owners: { verified: false } });
      expect((await csc(good.own.given)).stdout).toContain('THAT THE OWNERS SIGNED IT WAS NOT VERIFIED');
      expect(heldText).toContain('THE LOG OF RECEIPTS THAT THE OWNERS NAME IS NOT IN IT');
    });

    it('what a gate puts in the place of theirs is refused by name', async () => {
      const replaced = await judge(owners, mallory, {
        change: (dir) => replaceIn(dir, people(mallory), 'approvers.yaml'),
      });
      expect(replaced.own).toMatchObject({ code: 0, approvals: { signed: 1, unknown: 0 } });
      expect(replaced.held.code).toBe(1);
      expect(replaced.held.text).toMatch(
        /repository\/targets\/[0-9a-f]{64}\.approvers\.yaml is not the owners’/,
      );
      expect(replaced.held.text).toContain(
        'approvers.yaml of version 1 is not here as the owners have signed it',
      );
      expect(replaced.held.text).toMatch(
        /approval: .* of spiffe:\/\/csc.local\/client\/alice: no approvers.yaml that the owners/,
      );

      const theirs = publishAs('gates', mallory, [filesOf(mallory)], new Date('2025-01-01T00:00:00Z'));
      const whole = await judge(theirs, mallory, { pinned: owners });
      expect(whole.own.code).toBe(0);
      expect(whole.held.code).toBe(1);
      expect(whole.held.text).toContain('repository/metadata/1.targets.json is not the owners’');
      expect(whole.held.text).toContain('version 1 of the owners’ files, which it ran by, is not here');
      // Said once, and not of each approval: nobody knows who might give them.
      expect(whole.held.text).toMatch(
        /is not here as they have signed it; whether those who approved might \(1 approvals\)/,
      );
      expect(whole.held.text).not.toMatch(/^approval:/m);
      expect(whole.held.approvals).toEqual({ signed: 0, unknown: 1 });
    });

    it('and runs by no other policy, and for nobody of whom they know nothing', async () => {
      const other = await judge(owners, alice, { receipt: { policy_sha256: 'a'.repeat(64), approvals: [] } });
      expect(other.held.faults).toMatchObject([
        {
          kind: 'policy',
          message: expect.stringContaining('which the owners have not signed: version 1 has another'),
        },
      ]);
      const token = {
        issuer: 'https://ci.example',
        subject: 'x',
        token_sha256: 'a'.repeat(64),
        binding: 'key',
      } as const;
      // Of several commands the last was refused: the others ran.
      const partly = { status: 'failed', ended: 'refused', exit_code: 126 } as const;
      const half = await judge(owners, alice, { receipt: { ...partly, policy_sha256: 'a'.repeat(64) } });
      expect(half.held.faults.map(({ kind }) => kind)).toContain('policy');
      const strange = await judge(owners, alice, { receipt: { identity: token } });
      expect(strange.held.faults).toMatchObject([{ kind: 'identity' }]);
    });

    it('and to the log that they name', async () => {
      const stranger = createSigner(generateKeyPair().seed, 'log.example');
      const logged = await judge(owners, alice, {
        change(dir) {
          log.addTo(dir, receiptFiles(dir), owner, stranger);
          writeFileSync(join(dir, 'trust/log.vkey'), vkeyOf(stranger));
        },
      });
      expect([logged.own.code, logged.held.faults.map(({ kind }) => kind)]).toEqual([0, ['log']]);
      const out = join(scratch, 'with-owners-log');
      const named = publishAs('named', ownersKey, [{ ...filesOf(alice), 'log.yaml': logYaml }]);
      const ofOwners = ['--log-of', join(named, 'published'), '--owners-root', rootOf(named)];
      const from = ['--receipts', exported, '--fleet-ca', ca, '--out', out];
      expect((await csc(['audit', 'bundle', ...from, ...ofOwners])).code).toBe(0);
      expect(readFileSync(join(out, 'trust/log.vkey'), 'utf8')).toBe(`${log.vkey}\n`);
    });

    it('and approved by nobody whom they have revoked', async () => {
      // What the newest version has revoked from before on counts no more, whatever was known then.
      const named = { ...filesOf(alice), 'log.yaml': logYaml };
      const versions = [named, { 'revoked.yaml': revoked('key', 'alice-key', '2025-01-02T00:00:00Z') }];
      const late = publishAs('late', ownersKey, versions);
      const stolen = await judge(late, alice);
      for (const { code, faults } of [stolen.own, stolen.held])
        expect([code, faults]).toMatchObject([
          1,
          [
            {
              kind: 'approval',
              message: expect.stringMatching(/was revoked at 2025-01-02T00:00:00.*before the run began/),
            },
          ],
        ]);
      // A person is revoked with all of their keys, by whichever of their names, from then on; what was before stays evidence.
      for (const [index, id] of [identity, alias].entries()) {
        const files = [named, { 'revoked.yaml': revoked('principal', id, '2025-01-02T00:00:00Z') }];
        const left = publishAs(`left-${index}`, ownersKey, files);
        const { own, held } = await judge(left, alice);
        for (const { code, text } of [own, held]) {
          expect(code).toBe(1);
          expect(text).toMatch(/^approval: .* was revoked at 2025-01-02T00:00:00.*before the run began$/);
        }
      }
      const stays = publishAs('stays', ownersKey, [
        named,
        { 'revoked.yaml': revoked('principal', identity, '2099-01-01T00:00:00Z') },
      ]);
      const before = await judge(stays, alice);
      for (const { code, approvals } of [before.own, before.held])
        expect([code, approvals]).toEqual([0, { signed: 1, unknown: 0 }]);
    });

    it('and no file of theirs may be unread', async () => {
      const stays = publishAs('unread', ownersKey, [filesOf(alice)]);
      // Who was revoked by a file that cannot be read, nobody knows: it is no bundle that holds.
      publishUnread(
        stays,
        { owner: ownersKey, online: gateKey },
        'revoked.yaml',
        'revoked_version: csc.revoked.v9\n',
      );
      const unread = await judge(stays, alice);
      for (const { code, text } of [unread.own, unread.held]) {
        expect(code).toBe(1);
        expect(text).toMatch(/^owners: .*revoked.yaml.* cannot be read/);
      }
    });
  });

  it.each([
    ['approvers.yaml', 'approvers_version: csc.approvers.v9\n'],
    ['revoked.yaml', 'revoked_version: csc.revoked.v9\n'],
    ['revoked.yaml', 'revoked: ['],
  ])('fails where an owners’ file in it cannot be read: %s, %j', async (name, content) => {
    const { code, faults, shown } = await host.look((dir) => {
      makeDirectory(join(dir, 'repository/targets/policies'));
      writeFileSync(join(dir, `repository/targets/0a.${name}`), content);
      // A profile of that name is none.
      writeFileSync(join(dir, `repository/targets/policies/0a.${name}`), testPolicy('/w'));
      relist(dir);
    });
    expect([code, faults]).toMatchObject([1, [{ kind: 'owners', file: `repository/targets/0a.${name}` }]]);
    expect(shown.text).toContain(`owners: repository/targets/0a.${name} cannot be read`);
  });

  /** An OpenSSH key and two security keys, and what approvers.yaml has of them. */
  function keysOfEachKind(): { readonly signers: PersonSigner[]; readonly lines: string[] } {
    const agent = createSigner(generateKeyPair().seed, 'alice-agent');
    const sk = createSigner(generateKeyPair().seed, 'alice-sk');
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { x = '', y = '' } = p256.publicKey.export({ format: 'jwk' });
    const point = Buffer.concat([Buffer.from([4]), ...[x, y].map((it) => Buffer.from(it, 'base64url'))]);
    const line = (type: string, ...strings: (string | Uint8Array)[]): string =>
      `${type} ${Buffer.concat([type, ...strings].map((it) => sshString(Buffer.from(it)))).toString('base64')}`;
    // PROTOCOL.u2f: who was touched signs so.
    const touched = (signs: (bytes: Uint8Array) => Uint8Array) => (message: Uint8Array) => {
      const sha256 = (it: string | Uint8Array): Buffer => createHash('sha256').update(it).digest();
      const trailer = Buffer.from([1, 0, 0, 0, 7]);
      return Buffer.concat([signs(Buffer.concat([sha256('ssh:'), trailer, sha256(message)])), trailer]);
    };
    const ecdsa = { key: p256.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    return {
      signers: [
        { keyId: agent.keyId, algorithm: 'sshsig-ed25519', sign: (it) => agent.sign(it) },
        { keyId: sk.keyId, algorithm: 'sshsig-sk-ed25519', sign: touched((it) => sk.sign(it)) },
        {
          keyId: 'alice-p256',
          algorithm: 'sshsig-sk-ecdsa-p256',
          sign: touched((it) => signWith('sha256', it, ecdsa)),
        },
      ],
      lines: [
        line('ssh-ed25519', agent.publicKey),
        line('sk-ssh-ed25519@openssh.com', sk.publicKey, 'ssh:'),
        line('sk-ecdsa-sha2-nistp256@openssh.com', 'nistp256', point, 'ssh:'),
      ],
    };
  }
});
