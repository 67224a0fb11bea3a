import { createHash, createPublicKey } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { CommandContract } from '@csc-fleet/common/contract';
import { createKeyRing, createSigner, generateKeyPair, toKeyRingJson } from '@csc-fleet/common/crypto';
import {
  type Envelope,
  executionPredicate,
  executionPredicateSchema,
  openEnvelope,
  openEnvelopeText,
  slsaProvenance,
} from '@csc-fleet/common/dsse';
import { canonicalBytes } from '@csc-fleet/common/encoding';
import { sealChained, signArtifact } from '@csc-fleet/common/evidence';
import { makeDirectory } from '@csc-fleet/common/files';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import type { Submission } from '@csc-fleet/common/submission';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import {
  forgeReceipt,
  ReceiptsOfHost,
  readReceipt,
  receiptFile,
} from '@csc-fleet/test-kit/cli/exported-receipts';
import { type CommandShort, makeContract, shell } from '@csc-fleet/test-kit/contract';
import { openWorkbench } from '@csc-fleet/test-kit/executor/workbench';
import { csc } from '@csc-fleet/test-kit/process';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity, Verifier } from '@sigstore/verify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const host = new ReceiptsOfHost();
const { owner, signer, scratch, pki, exported, keys } = host;

beforeAll(() => host.open());

afterAll(() => host.close());

/** What is said of the exported receipts, after they were changed. */
async function verify(change: (directory: string) => void, trust = ['--fleet-ca', join(pki, 'ca.pem')]) {
  const copy = join(scratch, `copy-${Math.random().toString(36).slice(2)}`);
  cpSync(exported, copy, { recursive: true });
  const [epoch = ''] = readdirSync(copy);
  change(join(copy, epoch));
  const { code, stdout } = await csc(['receipts', 'verify', copy, ...trust, '--json']);
  const { faults } = JSON.parse(stdout) as { faults: { kind: string; message: string }[] };
  return { code, kinds: faults.map(({ kind }) => kind), messages: faults.map(({ message }) => message) };
}

describe('the receipts that a host has kept', () => {
  it('are shown while it runs, refusals and what was asked for as v0.1 among them', async () => {
    const kept = await host.list();
    expect(kept.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    const id = kept[2]?.execution_id ?? '';
    const { stdout } = await csc(['executor', 'receipts', 'show', id, '--state-dir', host.bench.stateDir]);
    expect(JSON.parse(stdout)).toMatchObject({ receipt_version: 'csc.receipt.v0.2', execution_id: id });
  });

  it.each([
    ['a name that was mistyped', join(scratch, 'typo'), 'no executor has kept receipts in'],
    ['a directory of something else', scratch, 'no executor has kept receipts in'],
    ['a file', keys, 'a part of its path is not a directory'],
  ])('are not said to be none where the state directory is %s', async (_what, stateDir, why) => {
    for (const what of [['list'], ['show', 'exec_1'], ['export', join(scratch, 'none')]]) {
      const { code, stdout, stderr } = await csc(['executor', 'receipts', ...what, '--state-dir', stateDir]);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toContain(`failed to read ${join(stateDir, 'receipts')}: ${why}`);
    }
    expect(existsSync(join(scratch, 'none'))).toBe(false);
  });

  it('are missed by name where the directory to verify is not there', async () => {
    const { code, stderr } = await csc(['receipts', 'verify', join(scratch, 'nope'), '--keys', keys]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('nope: there is no such file')]);
  });

  it('verify with both, where its key was certified meanwhile: by what each of them is of', async () => {
    const uncertified = (directory: string) => {
      const last = forgeReceipt(directory, 4, signer, { receipt_certificates: undefined } as object);
      writeFileSync(join(directory, receiptFile(4)), last);
    };
    const [ca, pinned] = [
      ['--fleet-ca', host.ca],
      ['--keys', keys],
    ];
    expect((await verify(uncertified, ca)).messages).toEqual([
      expect.stringContaining('brings no certificate'),
    ]);
    expect(await verify(uncertified, [...ca, ...pinned])).toEqual({ code: 0, kinds: [], messages: [] });
    const raw = join(scratch, 'raw.pub');
    writeFileSync(raw, signer.publicKey);
    expect((await verify(uncertified, [...ca, '--public-key', raw, '--key-id', signer.keyId])).code).toBe(0);
    // A key that is pinned does not stand for what a certificate must prove.
    const other = join(scratch, 'pki-of-others');
    await createDevelopmentPki(other, { executors: ['executor-1'] });
    const strange = await verify(uncertified, ['--fleet-ca', join(other, 'ca.pem'), ...pinned]);
    expect(strange.kinds).toEqual(Array(3).fill('certificate'));
    // Nor does a certificate for what the keys say is revoked, whatever id it goes by there.
    const revoked = join(scratch, 'revoked.json');
    const { publicKey } = signer;
    writeFileSync(revoked, toKeyRingJson([{ keyId: 'lost', publicKey, owner, revokedAt: new Date() }]));
    const { code, messages } = await verify(() => undefined, [...ca, '--keys', revoked]);
    expect([code, messages]).toEqual([1, Array(4).fill(expect.stringContaining('revoked'))]);
    const one = join(scratch, 'one.json');
    const [epoch = ''] = readdirSync(exported);
    copyFileSync(join(exported, epoch, receiptFile(1)), one);
    expect((await csc(['verify-receipt', one, ...ca, ...pinned])).stdout).toMatch(/^VALID/);
    const give = ['receipts', 'export', exported, '--format', 'json', ...ca, ...pinned];
    expect((await csc(give)).code).toBe(0);
    for (const half of [[], ['--key-id', 'k'], [...ca, '--public-key', raw]])
      expect((await csc(['receipts', 'verify', exported, ...half])).code).toBe(64);
  });

  it('verify with nothing but the CA, and with the key', async () => {
    expect(await verify(() => undefined)).toEqual({ code: 0, kinds: [], messages: [] });
    expect((await verify(() => undefined, ['--keys', keys])).code).toBe(0);
    // The host's own files are as good.
    const own = ['receipts', 'verify', join(host.bench.stateDir, 'receipts'), '--ca', join(pki, 'ca.pem')];
    expect((await csc(own)).stdout).toMatch(
      /^VALID\n {2}executor executor-1, of the trust domain csc.local, epoch [0-9a-f]{32}: receipts 1 to 4\n$/,
    );
  });

  it.each<[string, string, (directory: string) => void]>([
    ['one that was taken out', 'gap', (directory) => rmSync(join(directory, receiptFile(2)))],
    [
      'another one with the same number',
      'fork',
      (directory) =>
        writeFileSync(
          join(directory, 'other.json'),
          forgeReceipt(directory, 3, signer, { contract_id: 'other' }),
        ),
    ],
    [
      'one that was signed anew, with something else in it',
      'link',
      (directory) =>
        writeFileSync(
          join(directory, receiptFile(2)),
          forgeReceipt(directory, 2, signer, { error: 'never' }),
        ),
    ],
    [
      'one that was changed',
      'signature',
      (directory) => {
        const changed = { ...readReceipt(directory, 4), contract_id: 'other' };
        writeFileSync(join(directory, receiptFile(4)), JSON.stringify(changed));
      },
    ],
    [
      'one that somebody else has signed',
      'certificate',
      (directory) => {
        const stranger = createSigner(generateKeyPair().seed, signer.keyId);
        writeFileSync(
          join(directory, receiptFile(4)),
          forgeReceipt(directory, 4, stranger, { receipt_certificates: [] }),
        );
      },
    ],
    [
      'one of another epoch in its place',
      'epoch',
      (directory) => {
        const elsewhere = forgeReceipt(directory, 4, signer, {});
        const receipt = { ...JSON.parse(elsewhere.toString()), signature: undefined };
        const link = { epoch: '0'.repeat(32), sequence: 4, previousSha256: undefined };
        const sealing = { version: 'csc.receipt.v0.2', signer, now: new Date() } as const;
        writeFileSync(join(directory, receiptFile(4)), sealChained(receipt, sealing, link).receiptJson);
      },
    ],
  ])('do not hide %s', async (_what, kind, change) => {
    const { code, kinds } = await verify(change);
    expect(code).toBe(1);
    expect(kinds).toContain(kind);
  });

  it('do not verify with another CA, nor with the certificate of something else', async () => {
    const other = join(scratch, 'other-pki');
    await createDevelopmentPki(other, { executors: ['executor-1'] });
    expect((await verify(() => undefined, ['--ca', join(other, 'ca.pem')])).kinds).toEqual(
      Array(4).fill('certificate'),
    );
    // For people it is one thing that is wrong, and not four.
    const own = ['receipts', 'verify', join(host.bench.stateDir, 'receipts'), '--ca', join(other, 'ca.pem')];
    expect((await csc(own)).stdout).toMatch(
      /^INVALID\n {2}certificate: 4 receipts, from \S+ \(1\) to \S+ \(4\), each: .*\n {2}no receipt verifies: .*\n$/,
    );
    // An executor of the fleet has a certificate of its CA for TLS: it is none of a receipt key.
    copyFileSync(join(other, 'executor-executor-1.pem'), join(scratch, 'tls.pem'));
    const executor = { receiptCertificate: join(scratch, 'tls.pem') };
    await expect(openWorkbench({ executor, deps: { signer } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    const stranger = createSigner(generateKeyPair().seed, 'executor-1-key');
    const certified = { receiptCertificate: join(pki, 'receipt-executor-1.pem') };
    await expect(openWorkbench({ executor: certified, deps: { signer: stranger } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

describe('receipts of several fleets, whose hosts have the same names and one CA', () => {
  const stranger = createSigner(generateKeyPair().seed, 'stranger-key');
  const [theirs, both] = [join(scratch, 'theirs.json'), join(scratch, 'both.json')];
  const other = 'spiffe://other.example/executor/executor-1';
  // It names nobody of its own fleet.
  const last = (directory: string) =>
    writeFileSync(
      join(directory, receiptFile(4)),
      forgeReceipt(directory, 4, stranger, { principal: undefined } as unknown as Partial<ReceiptV02>),
    );

  beforeAll(() => {
    writeFileSync(theirs, toKeyRingJson([{ ...stranger, owner: other }]));
    writeFileSync(
      both,
      toKeyRingJson([
        { ...signer, owner },
        { ...stranger, owner: other },
      ]),
    );
  });

  it('do not pass for those of one', async () => {
    const mixed = await verify(last, ['--keys', both]);
    expect([mixed.code, mixed.kinds]).toEqual([1, ['domain', 'domain']]);
    expect(mixed.messages.join()).toContain('csc.local (executor-1), other.example (executor-1)');
    // In an epoch of its own, as a host that was set up anew.
    const anew = await verify(
      (directory) => {
        const { signature: _, principal: __, ...receipt } = readReceipt(directory, 4);
        const link = { epoch: '0'.repeat(32), sequence: 1, previousSha256: undefined };
        const sealing = { version: 'csc.receipt.v0.2', signer: stranger, now: new Date() } as const;
        writeFileSync(join(directory, 'anew.json'), sealChained(receipt, sealing, link).receiptJson);
        cpSync(join(directory, 'anew.json'), join(dirname(directory), '0'.repeat(32), receiptFile(1)));
        rmSync(join(directory, 'anew.json'));
      },
      ['--keys', both],
    );
    expect([anew.code, anew.kinds]).toEqual([1, ['domain']]);
  });

  it('count where they are of the one that is meant, and no others do', async () => {
    const said = ['--trust-domain', 'csc.local'];
    expect((await verify(() => undefined, ['--keys', both, ...said])).code).toBe(0);
    const forged = await verify(last, ['--keys', both, ...said]);
    expect([forged.code, forged.kinds]).toEqual([1, ['signature']]);
    expect(forged.messages[0]).toContain(`is of "${other}", and this is the trust domain csc.local`);
    expect((await verify(() => undefined, ['--keys', theirs, ...said])).kinds).toEqual(
      Array(4).fill('signature'),
    );
    // What nothing says is not passed: it is said, or refused where it matters.
    const bare = join(scratch, 'bare.json');
    writeFileSync(bare, toKeyRingJson([{ keyId: signer.keyId, publicKey: signer.publicKey }]));
    const unsaid = await csc(['receipts', 'verify', exported, '--keys', bare]);
    expect(unsaid.stdout).toContain('executor-1, WHOSE TRUST DOMAIN ITS KEY DOES NOT SAY, epoch');
    const demanded = await verify(() => undefined, ['--keys', bare, ...said]);
    expect(demanded.kinds).toEqual(Array(4).fill('signature'));
    expect(demanded.messages[0]).toContain('of which nothing says whose it is');
  });

  it('are not exported as those of one', async () => {
    const mixed = join(scratch, 'mixed');
    cpSync(exported, mixed, { recursive: true });
    last(join(mixed, readdirSync(mixed)[0] ?? ''));
    const give = (...said: string[]) =>
      csc(['receipts', 'export', mixed, '--keys', both, '--format', 'json', ...said]);
    const unsaid = await give();
    expect([unsaid.code, unsaid.stdout]).toEqual([1, '']);
    expect(unsaid.stderr).toContain('of several trust domains, csc.local and other.example');
    expect((await give('--trust-domain', 'csc.local')).stderr).toContain(`is of "${other}"`);
    const each = await give('--trust-domain', 'csc.local', '--trust-domain', 'other.example');
    expect([each.code, each.stdout.trim().split('\n').length]).toEqual([0, 4]);
  });

  it('do not pass in a bundle, whatever its audit says', async () => {
    const made = join(scratch, 'bundle-of-fleets');
    const make = (...args: string[]) => csc(['audit', 'bundle', ...args, '--out', made]);
    expect((await make('--receipts', exported, '--keys', both)).code).toBe(0);
    const judge = async (...args: string[]) => {
      const { code, stdout } = await csc(['audit', 'verify-bundle', made, ...args, '--json']);
      const { faults } = JSON.parse(stdout) as { faults: { kind: string; message: string }[] };
      return [code, ...new Set(faults.map(({ kind }) => kind).filter((kind) => kind !== 'file'))];
    };
    expect(await judge('--keys', both)).toEqual([0]);
    const [, , , path = ''] = readdirSync(join(made, 'receipts'), { recursive: true, withFileTypes: true })
      .filter((it) => it.isFile())
      .map((it) => join(it.parentPath, it.name))
      .sort();
    last(dirname(path));
    const forged = readFileSync(path);
    expect(await judge('--keys', both)).toEqual([1, 'domain']);
    expect(await judge('--keys', both, '--trust-domain', 'csc.local')).toEqual([1, 'signature']);
    const row = {
      metadata: { correlation_uid: JSON.parse(forged.toString()).execution_id },
      src_endpoint: { name: owner },
      unmapped: { receipt_sha256: createHash('sha256').update(forged).digest('hex') },
    };
    writeFileSync(join(made, 'audit.jsonl'), `${JSON.stringify(row)}\n`);
    const both2 = ['--trust-domain', 'csc.local', '--trust-domain', 'other.example'];
    expect(await judge('--keys', both, ...both2)).toEqual([1, 'domain', 'differs']);
  });
});

it('a restored state directory begins a new epoch, beside the receipts of the old one', async () => {
  const restored = join(scratch, 'restored');
  cpSync(host.bench.stateDir, restored, { recursive: true });
  const begin = () => csc(['executor', 'new-epoch', '--state-dir', restored]);
  const [first, second] = [await begin(), await begin()];
  const said = /^epoch ([0-9a-f]{32}) begins, and ([0-9a-f]{32}) is over/;
  const [, one] = said.exec(first.stdout) ?? [];
  const [, , over] = said.exec(second.stdout) ?? [];
  expect([first.code, second.code]).toEqual([0, 0]);
  expect(over).toBe(one);
  const { stdout } = await csc(['executor', 'receipts', 'list', '--json', '--state-dir', restored]);
  expect(stdout.split('\n').filter((line) => line !== '')).toHaveLength(4);
  const none = await csc(['executor', 'new-epoch', '--state-dir', join(scratch, 'nowhere')]);
  expect(none).toMatchObject({ code: expect.any(Number), stderr: expect.stringContaining('journal.sqlite') });
  expect(none.code).not.toBe(0);
});

it('a receipt that the gate does not take is taken back by whoever runs its host, and kept', async () => {
  const own = await openWorkbench({ executor: { receiptRetentionDays: 400 }, deps: { signer } });
  try {
    own.gate.acknowledges = false;
    const id = own.gate.offer(makeContract(own.workspace, [{ argv: ['true'] }]), own.policy, {
      ticket: {
        grant: { receipt_version: 'csc.receipt.v0.1', limits: { stdout_bytes: 1, stderr_bytes: 1 } },
      },
    });
    await own.gate.receipt(id);
    const out = join(scratch, 'given-up.json');
    const giveUp = (what: string) =>
      csc(['executor', 'receipts', 'give-up', what, '--out', out, '--state-dir', own.stateDir]);
    await own.restart(async () => {
      const unknown = await giveUp('exec_unknown');
      expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining(`of 1 executions: ${id}`)]);
      expect(existsSync(out)).toBe(false);
      expect(await giveUp(id)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining(`receipt of ${id} any more`),
      });
      const { receipt_version, execution_id, sequence } = JSON.parse(readFileSync(out, 'utf8'));
      expect([receipt_version, execution_id, sequence]).toEqual(['csc.receipt.v0.2', id, 1]);
      expect((await giveUp(id)).stderr).toContain('the gate has acknowledged all');
      const { stdout } = await csc(['executor', 'receipts', 'list', '--json', '--state-dir', own.stateDir]);
      expect(JSON.parse(stdout).execution_id).toBe(id);
    });
    expect(own.gate.all('hello').at(-1)?.executionIds).toEqual([]);
  } finally {
    await own.close();
  }
});

describe('a state directory whose disk is lost', () => {
  const saved = () => join(scratch, 'saved');
  const restore = (dir: string) => csc(['restore', 'executor', '--dir', dir, '--from', saved()]);
  const epochOf = async (dir: string) => {
    const { stdout } = await csc(['executor', 'new-epoch', '--state-dir', dir]);
    return /, and ([0-9a-f]{32}) is over/.exec(stdout)?.[1];
  };

  it('is backed up while its executor runs, and comes back with its receipts and a new epoch', async () => {
    const backedUp = await csc(['backup', 'executor', '--dir', host.bench.stateDir, '--to', saved()]);
    expect(backedUp).toMatchObject({ code: 0, stderr: '' });
    const lost = join(scratch, 'lost');
    const { code, stdout } = await restore(lost);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^restored; epoch [0-9a-f]{32} begins/)]);
    const listed = await csc(['executor', 'receipts', 'list', '--json', '--state-dir', lost]);
    expect(listed.stdout.trimEnd().split('\n')).toHaveLength(4);
    expect(stdout).toContain(`epoch ${await epochOf(lost)} begins`);
    const again = await csc(['backup', 'executor', '--dir', host.bench.stateDir, '--to', saved()]);
    expect([again.code === 0, again.stderr]).toEqual([false, expect.stringContaining('is there already')]);
  });

  it('is refused while it is damaged, and restored beside what was left of it', async () => {
    const torn = join(scratch, 'torn');
    cpSync(saved(), torn, { recursive: true });
    truncateSync(join(torn, 'journal.sqlite'));
    const refused = await csc(['executor', 'new-epoch', '--state-dir', torn]);
    expect([refused.code === 0, refused.stderr]).toEqual([
      false,
      expect.stringContaining('csc restore executor'),
    ]);
    const held = lockStateDirectory(torn);
    expect(await restore(torn)).toMatchObject({
      code: 78,
      stderr: `ERROR — an executor uses ${torn}: stop it first, then restore\n`,
    });
    held.release();
    const restored = await restore(torn);
    expect(restored.code).toBe(0);
    expect(await epochOf(torn)).toBeDefined();
    const replaced = readdirSync(torn).find((it) => it.startsWith('replaced-')) ?? '';
    expect(restored.stderr).toContain(`is in ${join(torn, replaced)}: delete it once`);
    const gateConfig = join(scratch, 'gate.yaml');
    writeFileSync(gateConfig, 'data_dir: data\n');
    const wrong = await csc(['restore', 'executor', '--config', gateConfig, '--from', saved()]);
    expect(wrong).toMatchObject({
      code: 78,
      stderr: expect.stringContaining(
        'looks like a gate’s config (it has data_dir): name that of the executor',
      ),
    });
    expect(readFileSync(join(torn, replaced, 'journal.sqlite'))).toHaveLength(0);
    // Cut off in the middle, it is no journal until it is done again.
    writeFileSync(join(torn, 'journal.sqlite.restoring'), '');
    expect((await csc(['executor', 'new-epoch', '--state-dir', torn])).stderr).toContain('was cut off');
    expect(await restore(torn)).toMatchObject({ code: 0 });
  });

  it('is given no damaged backup, and none of another executor', async () => {
    const other = join(scratch, 'other');
    cpSync(saved(), other, { recursive: true });
    writeFileSync(join(other, 'identity'), 'spiffe://csc.local/executor/another\n');
    writeFileSync(join(saved(), 'identity'), `${owner}\n`);
    const was = readFileSync(join(other, 'journal.sqlite'));
    expect((await restore(other)).stderr).toContain('belongs to spiffe://csc.local/executor/another');
    truncateSync(join(saved(), 'journal.sqlite'), 4096);
    rmSync(join(other, 'identity'));
    expect((await restore(other)).stderr).toContain('is damaged');
    expect(readFileSync(join(other, 'journal.sqlite'))).toEqual(was);
    expect(existsSync(join(other, 'journal.sqlite.restoring'))).toBe(false);
  });
});

describe('receipts that were attested', () => {
  const out = join(scratch, 'attested');
  const writes = (): CommandShort => ({
    write_paths: [host.bench.out],
    proposed_effect_type: 'transform_local',
  });

  /** Runs a contract for a submission that asks for it, and gives the receipt's text. */
  async function run(
    options: Submission['options'],
    over: Partial<CommandContract> = {},
    script = 'echo made > out/made',
  ): Promise<Buffer> {
    const contract = makeContract(host.bench.workspace, [{ argv: shell(script), ...writes() }], over);
    const submission = signSubmission(contract, {
      principal: 'spiffe://csc.local/client/alice',
      signer: createSigner(generateKeyPair().seed, 'alice'),
      now: new Date(),
      overrides: { options },
    });
    const id = host.bench.gate.offer(contract, host.bench.policy, { submission });
    return canonicalBytes(await host.bench.gate.receipt(id));
  }

  const write = (name: string, text: string | Uint8Array): string => {
    const path = join(out, name);
    makeDirectory(out);
    writeFileSync(path, text);
    return path;
  };
  const exportOf = async (
    path: string,
  ): Promise<{ code: number | null; envelopes: Envelope[]; stderr: string }> => {
    const { code, stdout, stderr } = await csc(['receipts', 'export', path, '--keys', keys]);
    const lines = stdout.split('\n').filter((line) => line !== '');
    return { code, stderr, envelopes: lines.map((line) => JSON.parse(line)) };
  };
  const sigstore = (envelope: Envelope, publicKey: Uint8Array = signer.publicKey): unknown => {
    const bundle = bundleFromJSON({
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: { publicKey: { hint: envelope.signatures[0]?.keyid }, tlogEntries: [] },
      dsseEnvelope: envelope,
    });
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') };
    const key = { publicKey: createPublicKey({ key: jwk, format: 'jwk' }), validFor: () => true };
    const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
    const verifier = new Verifier(
      { ...none, publicKey: () => key },
      { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 },
    );
    return verifier.verify(toSignedEntity(bundle));
  };
  const payloadOf = ({ payload }: Envelope) => JSON.parse(Buffer.from(payload, 'base64').toString());

  it('are exported as envelopes that sigstore-js verifies, and are what the receipt says', async () => {
    const made = join(host.bench.out, 'made');
    const receiptJson = await run({ attest: true }, { expected_outputs: [made] });
    const { code, envelopes } = await exportOf(write('built.json', receiptJson));
    expect(code).toBe(0);
    const [execution, provenance] = envelopes.map(payloadOf);
    const receipt = JSON.parse(receiptJson.toString());
    const subject = [{ name: made, digest: { sha256: createHash('sha256').update('made\n').digest('hex') } }];
    expect([execution.predicateType, provenance.predicateType]).toEqual([executionPredicate, slsaProvenance]);
    expect([execution.subject, provenance.subject]).toEqual([subject, subject]);
    expect(executionPredicateSchema.parse(execution.predicate)).toMatchObject({
      execution_id: receipt.execution_id,
      outcome: { status: 'success', exit_code: 0 },
      chain: { sequence: receipt.sequence, epoch: receipt.executor_epoch },
    });
    expect(provenance.predicate.runDetails.builder.id).toBe('urn:csc:executor:executor-1');
    const ring = createKeyRing([signer]);
    for (const envelope of envelopes) {
      sigstore(envelope);
      expect(() => sigstore(envelope, generateKeyPair().publicKey)).toThrow('signature verification failed');
      expect(openEnvelopeText(Buffer.from(JSON.stringify(envelope)), ring).keyId).toBe(signer.keyId);
      const other = { ...envelope, payload: Buffer.from('{}').toString('base64') };
      expect(() => sigstore(other)).toThrow('signature verification failed');
      expect(() => openEnvelope(other, ring)).toThrow('does not fit');
    }
  });

  it('are those that were asked for: nobody can attest afterwards, and a failed run is no build', async () => {
    const plain = await run({});
    expect(JSON.parse(plain.toString())).not.toHaveProperty('attestations');
    const left = await exportOf(write('plain.json', plain));
    expect(left).toMatchObject({ code: 1, envelopes: [], stderr: expect.stringContaining('--attest') });
    const outputs = { expected_outputs: [join(host.bench.out, 'made')] };
    const failed = await run({ attest: true }, outputs, 'echo made > out/made; false');
    const { envelopes } = await exportOf(write('failed.json', failed));
    expect(envelopes.map((it) => payloadOf(it).predicateType)).toEqual([executionPredicate]);
  });

  it('do not lend a statement’s signature to another receipt', async () => {
    const [one, other] = [await run({ attest: true }), await run({ attest: true })].map((it) =>
      JSON.parse(it.toString()),
    );
    // By who has the key, even: the payload is of the receipt, the signature of another one.
    const borrowed = signArtifact({ ...one, attestations: other.attestations }, signer, new Date());
    const { envelopes } = await exportOf(write('borrowed.json', borrowed));
    const [envelope] = envelopes;
    expect(() => envelope && openEnvelope(envelope, createKeyRing([signer]))).toThrow('does not fit');
    expect(() => envelope && sigstore(envelope)).toThrow('signature verification failed');
    const changed = { ...one, contract_id: 'another' };
    const refused = await exportOf(write('changed.json', JSON.stringify(changed)));
    expect(refused).toMatchObject({ envelopes: [], stderr: expect.stringContaining('signature') });
  });
});
