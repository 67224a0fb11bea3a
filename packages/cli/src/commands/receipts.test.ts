import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSigner, generateKeyPair, type Signer, toKeyRingJson } from '@csc-fleet/common/crypto';
import { sealChained } from '@csc-fleet/common/evidence';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { lockStateDirectory } from '@csc-fleet/sandbox/host';
import { makeContract } from '@csc-fleet/test-kit/contract';
import { openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { csc } from '@csc-fleet/test-kit/process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const owner = 'spiffe://csc.local/executor/executor-1';
const scratch = mkdtempSync(join(tmpdir(), 'csc-receipts-'));
const pki = join(scratch, 'pki');
const exported = join(scratch, 'exported');
const signer = createSigner(generateKeyPair().seed, 'executor-1-key');
let bench: Workbench;
let keys: string;

// What an owner does: exports the key, has it certified, and names the certificate in the config.
beforeAll(async () => {
  await createDevelopmentPki(pki);
  keys = join(scratch, 'host-1.json');
  writeFileSync(keys, toKeyRingJson([{ ...signer, owner }]));
  expect((await csc(['pki', 'certify', keys, '--dir', pki])).code).toBe(0);
  bench = await openWorkbench({
    executor: { receiptRetentionDays: 400, receiptCertificate: join(pki, 'receipt-executor-1.pem') },
    deps: { signer },
  });
  const limits = { stdout_bytes: 1, stderr_bytes: 1 };
  const v01 = { ticket: { grant: { receipt_version: 'csc.receipt.v0.1', limits } } } as const;
  for (const [command, overrides] of [
    [{}, {}],
    [{ network: 'full' }, {}],
    [{}, v01],
    [{}, {}],
  ] as const) {
    const contract = makeContract(bench.workspace, [command]);
    await bench.gate.receipt(bench.gate.offer(contract, bench.policy, overrides));
  }
  while ((await list()).length < 4) {}
  const { code, stdout } = await csc([
    'executor',
    'receipts',
    'export',
    exported,
    '--state-dir',
    bench.stateDir,
  ]);
  expect([code, stdout]).toEqual([0, expect.stringContaining('exported 4 receipts')]);
});

afterAll(async () => {
  await bench.close();
  rmSync(scratch, { recursive: true });
});

async function list(): Promise<{ execution_id: string; sequence: number }[]> {
  const { stdout } = await csc(['executor', 'receipts', 'list', '--json', '--state-dir', bench.stateDir]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** What is said of the exported receipts, after they were changed. */
async function verify(change: (directory: string) => void, trust = ['--ca', join(pki, 'ca.pem')]) {
  const copy = join(scratch, `copy-${Math.random().toString(36).slice(2)}`);
  cpSync(exported, copy, { recursive: true });
  const [epoch = ''] = readdirSync(copy);
  change(join(copy, epoch));
  const { code, stdout } = await csc(['receipts', 'verify', copy, ...trust, '--json']);
  const { faults } = JSON.parse(stdout) as { faults: { kind: string; message: string }[] };
  return { code, kinds: faults.map(({ kind }) => kind), messages: faults.map(({ message }) => message) };
}

const file = (sequence: number): string => `${String(sequence).padStart(12, '0')}.json`;
const read = (directory: string, sequence: number): ReceiptV02 =>
  JSON.parse(readFileSync(join(directory, file(sequence)), 'utf8'));

/** The receipt with this number anew, as its executor, or whoever has its key, could sign it. */
function forge(directory: string, sequence: number, by: Signer, change: Partial<ReceiptV02>): Buffer {
  const { signature: _, previous_receipt_sha256: previousSha256, ...receipt } = read(directory, sequence);
  const link = { epoch: receipt.executor_epoch ?? '', sequence, previousSha256 };
  return sealChained(
    { ...receipt, ...change },
    { version: 'csc.receipt.v0.2', signer: by, now: new Date() },
    link,
  ).receiptJson;
}

describe('the receipts that a host has kept', () => {
  it('are shown while it runs, refusals and what was asked for as v0.1 among them', async () => {
    const kept = await list();
    expect(kept.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    const id = kept[2]?.execution_id ?? '';
    const { stdout } = await csc(['executor', 'receipts', 'show', id, '--state-dir', bench.stateDir]);
    expect(JSON.parse(stdout)).toMatchObject({ receipt_version: 'csc.receipt.v0.2', execution_id: id });
  });

  it('verify with nothing but the CA, and with the key', async () => {
    expect(await verify(() => undefined)).toEqual({ code: 0, kinds: [], messages: [] });
    expect((await verify(() => undefined, ['--keys', keys])).code).toBe(0);
    // The host's own files are as good.
    const own = ['receipts', 'verify', join(bench.stateDir, 'receipts'), '--ca', join(pki, 'ca.pem')];
    expect((await csc(own)).stdout).toMatch(
      /^VALID\n {2}executor executor-1, epoch [0-9a-f]{32}: receipts 1 to 4\n$/,
    );
  });

  it.each<[string, string, (directory: string) => void]>([
    ['one that was taken out', 'gap', (directory) => rmSync(join(directory, file(2)))],
    [
      'another one with the same number',
      'fork',
      (directory) =>
        writeFileSync(join(directory, 'other.json'), forge(directory, 3, signer, { contract_id: 'other' })),
    ],
    [
      'one that was signed anew, with something else in it',
      'link',
      (directory) => writeFileSync(join(directory, file(2)), forge(directory, 2, signer, { error: 'never' })),
    ],
    [
      'one that was changed',
      'signature',
      (directory) => {
        const changed = { ...read(directory, 4), contract_id: 'other' };
        writeFileSync(join(directory, file(4)), JSON.stringify(changed));
      },
    ],
    [
      'one that somebody else has signed',
      'certificate',
      (directory) => {
        const stranger = createSigner(generateKeyPair().seed, signer.keyId);
        writeFileSync(join(directory, file(4)), forge(directory, 4, stranger, { receipt_certificates: [] }));
      },
    ],
    [
      'one of another epoch in its place',
      'epoch',
      (directory) => {
        const elsewhere = forge(directory, 4, signer, {});
        const receipt = { ...JSON.parse(elsewhere.toString()), signature: undefined };
        const link = { epoch: '0'.repeat(32), sequence: 4, previousSha256: undefined };
        const sealing = { version: 'csc.receipt.v0.2', signer, now: new Date() } as const;
        writeFileSync(join(directory, file(4)), sealChained(receipt, sealing, link).receiptJson);
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
    const own = ['receipts', 'verify', join(bench.stateDir, 'receipts'), '--ca', join(other, 'ca.pem')];
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

it('a restored state directory begins a new epoch, beside the receipts of the old one', async () => {
  const restored = join(scratch, 'restored');
  cpSync(bench.stateDir, restored, { recursive: true });
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

describe('a state directory whose disk is lost', () => {
  const saved = () => join(scratch, 'saved');
  const restore = (dir: string) => csc(['restore', 'executor', '--dir', dir, '--from', saved()]);
  const epochOf = async (dir: string) => {
    const { stdout } = await csc(['executor', 'new-epoch', '--state-dir', dir]);
    return /, and ([0-9a-f]{32}) is over/.exec(stdout)?.[1];
  };

  it('is backed up while its executor runs, and comes back with its receipts and a new epoch', async () => {
    const backedUp = await csc(['backup', 'executor', '--dir', bench.stateDir, '--to', saved()]);
    expect(backedUp).toMatchObject({ code: 0, stderr: '' });
    const lost = join(scratch, 'lost');
    const { code, stdout } = await restore(lost);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^restored; epoch [0-9a-f]{32} begins/)]);
    const listed = await csc(['executor', 'receipts', 'list', '--json', '--state-dir', lost]);
    expect(listed.stdout.trimEnd().split('\n')).toHaveLength(4);
    expect(stdout).toContain(`epoch ${await epochOf(lost)} begins`);
    const again = await csc(['backup', 'executor', '--dir', bench.stateDir, '--to', saved()]);
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
    expect(wrong).toMatchObject({ code: 78, stderr: expect.stringContaining('looks like a gate') });
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
