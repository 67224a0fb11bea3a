import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { createReloadableSigner, createSigner } from '@csc-fleet/common/crypto';
import { CscError } from '@csc-fleet/common/errors';
import { certify, generateTlsKey, makeRoot, toCertificate } from '@csc-fleet/common/pki';
import { createPolicySet } from '@csc-fleet/common/policy';
import { createLocalLauncher, endedProcess, type Launcher } from '@csc-fleet/sandbox/launch';
import { makeContract, shell } from '@csc-fleet/test-kit/contract';
import {
  makeTestDirectory,
  openWorkbench,
  type Workbench,
  type WorkbenchOptions,
} from '@csc-fleet/test-kit/executor/workbench';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Journal, openSqliteJournal } from '../journal/index.ts';

let bench: Workbench;

afterEach(() => bench.close());

describe('what breaks on the way', () => {
  const local = createLocalLauncher();
  const otherwise = (launch: Launcher['launch']): WorkbenchOptions => ({
    deps: { launcher: { launch, close: () => {} } },
  });

  afterAll(() => local.close());

  it('a launcher that throws is an internal refusal, which says nothing of why', async () => {
    bench = await openWorkbench(
      otherwise(() => {
        throw new Error('a fault of the launcher');
      }),
    );
    const refused = await bench.gate.next('refused', bench.offer([{}]));
    expect(refused.reason).toBe('INTERNAL');
    expect(refused.message).not.toContain('a fault of the launcher');
    expect(bench.gate.verify(refused.receiptJson)).toMatchObject({ status: 'blocked' });
  });

  it('an offer whose sandbox could not be launched gives back the room for its output', async () => {
    let launched = 0;
    const { deps = {} } = otherwise((spec) => {
      launched += 1;
      if (launched === 1) throw new CscError('QUEUE_FULL', 'no namespace is free');
      return local.launch(spec);
    });
    bench = await openWorkbench({
      deps,
      executor: { limits: { stdoutBytes: 500, stderrBytes: 500, spoolBytes: 1000 } },
    });
    await bench.gate.next('refused', bench.offer([{}]));
    expect((await bench.run([{}])).receipt.status).toBe('success');
  });

  const noSandbox = () => endedProcess({ kind: 'infrastructure', message: 'no namespaces left' });

  it('a sandbox that did not come about spends no ticket: it is for another host', async () => {
    let launched = 0;
    bench = await openWorkbench(
      otherwise((spec) => {
        launched += 1;
        return launched === 1 ? noSandbox() : local.launch(spec);
      }),
    );
    const refused = await bench.gate.next('refused', bench.offer([{}]));
    expect([refused.reason, refused.receiptJson.length]).toEqual(['SANDBOX_UNAVAILABLE', 0]);
    expect(refused.message).toContain('no namespaces left');
    expect((await bench.run([{}])).receipt.status).toBe('success');
  });

  it('one that did not come about for want of processes says what to do about that', async () => {
    const cause = Object.assign(new Error('spawn /usr/bin/bwrap EAGAIN'), { code: 'EAGAIN' });
    const failed = () => endedProcess({ kind: 'infrastructure', message: cause.message, cause });
    bench = await openWorkbench(otherwise(failed));
    const refused = await bench.gate.next('refused', bench.offer([{}]));
    expect(refused).toMatchObject({
      reason: 'SANDBOX_UNAVAILABLE',
      message: expect.stringMatching(/no more processes .*TasksMax/),
    });
    expect(refused.receiptJson).toHaveLength(0);
  });

  it.each([
    ['is built again', 2, 'success'],
    ['ends it, unstarted, where that does not help', 99, 'failed'],
  ])(
    'one of a command whose ticket is spent, which did not come about, %s',
    async (_what, failing, status) => {
      let launched = 0;
      bench = await openWorkbench(
        otherwise((spec) => {
          launched += 1;
          return launched === 1 || launched > 1 + failing ? local.launch(spec) : noSandbox();
        }),
      );
      const { receipt } = await bench.run([{}, { id: 'second' }]);
      expect(receipt.status).toBe(status);
      if (status === 'success') return;
      expect(launched).toBe(5);
      expect(receipt).toMatchObject({
        completed_command_ids: ['main'],
        error: expect.stringContaining('nothing of this'),
      });
    },
  );

  it('one that fails once the command was let go is blocked, with no exit code', async () => {
    bench = await openWorkbench(otherwise(() => ({ ...noSandbox(), ready: Promise.resolve(true) })));
    const { receipt } = await bench.run([{}]);
    expect(receipt).toMatchObject({ status: 'blocked', ended: 'refused', commands: [{ ended: 'refused' }] });
    expect(receipt.error).toContain('nothing of this command ran');
    expect(receipt).not.toHaveProperty('exit_code');
    expect(receipt.error).toContain('no namespaces left');
  });

  it.each([
    ['throws', () => new Error('broken')],
    [
      'has no place on this host',
      () => new CscError('SCOPE_NOT_FOUND', 'read path /gone does not exist on this host'),
    ],
  ])('a later command whose launch %s fails the contract with 126', async (_name, makeError) => {
    let launched = 0;
    bench = await openWorkbench(
      otherwise((spec) => {
        launched += 1;
        if (launched > 1) throw makeError();
        return local.launch(spec);
      }),
    );
    const { receipt } = await bench.run([{ id: 'one' }, { id: 'two' }, { id: 'three' }]);
    expect(receipt).toMatchObject({
      status: 'failed',
      exit_code: 126,
      completed_command_ids: ['one'],
      failed_command_id: 'two',
    });
    expect(JSON.stringify(receipt)).not.toContain('broken');
  });

  describe('in the journal', () => {
    let directory: string;
    let journal: Journal;

    beforeEach(() => {
      directory = makeTestDirectory();
      journal = openSqliteJournal(join(directory, 'journal.sqlite'));
    });

    afterEach(() => rmSync(directory, { recursive: true }));

    it('holds the receipt back until it can be written', async () => {
      let attempts = 0;
      const finish: Journal['finish'] = async (...given) => {
        attempts += 1;
        if (attempts === 1) throw new CscError('STORE_UNAVAILABLE', 'the disk is full');
        return journal.finish(...given);
      };
      bench = await openWorkbench({ deps: { journal: { ...journal, finish } } });
      expect((await bench.run([{}])).receipt.status).toBe('success');
      expect(attempts).toBe(2);
    });

    it('lets nothing start before it is durable', async () => {
      const gateOpen = Promise.withResolvers<void>();
      const redeem: Journal['redeem'] = async (redemption) => {
        if (redemption.executionId === 'exec_held') await gateOpen.promise;
        return journal.redeem(redemption);
      };
      bench = await openWorkbench({ deps: { journal: { ...journal, redeem } } });
      const contract = makeContract(bench.workspace, [
        { argv: shell('echo ran > out/mark'), write_paths: [bench.out] },
      ]);
      const ticket = { execution_id: 'exec_held' };
      bench.gate.offer(contract, bench.policy, { ticket });
      // One that came later and is not held up has gone all the way by then.
      await bench.run([{ write_paths: [bench.out] }]);
      expect(readdirSync(bench.out)).toEqual([]);
      expect(bench.gate.all('accepted', 'exec_held')).toEqual([]);
      gateOpen.resolve();
      expect((await bench.gate.receipt('exec_held')).status).toBe('success');
      expect(readdirSync(bench.out)).toEqual(['mark']);
    });

    it('lets nothing start where it cannot be written', async () => {
      const redeem = () => Promise.reject(new CscError('STORE_UNAVAILABLE', 'the disk is full'));
      bench = await openWorkbench({ deps: { journal: { ...journal, redeem } } });
      const id = bench.offer([{ argv: shell('echo ran > out/mark'), write_paths: [bench.out] }]);
      const refused = await bench.gate.next('refused', id);
      expect([refused.reason, refused.receiptJson.length]).toEqual(['STORE_UNAVAILABLE', 0]);
      expect(readdirSync(bench.out)).toEqual([]);
    });
  });
});

describe('a host whose certificate has ended while its CA was away', () => {
  const hourMs = 3_600_000;
  const endings = async () => {
    const root = await makeRoot({ trustDomain: 'csc.local', hosts: [] }, new Date());
    const issuer = { certificate: toCertificate(root.pem), key: root.key };
    const subject = {
      trustDomain: 'csc.local',
      role: 'executor',
      name: 'executor-1',
      labels: {},
      hosts: [],
    } as const;
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
    const issue = async (use: 'tls' | 'receipts', aheadMs: number) => {
      const key = use === 'tls' ? createPublicKey(generateTlsKey()) : publicKey;
      const now = new Date(Date.now() + aheadMs);
      const { pem } = await certify(subject, use, key, issuer, { now, lifeMs: hourMs });
      return new X509Certificate(pem);
    };
    const signs = async (aheadMs: number) => ({
      ...createSigner(seed, 'executor-1'),
      certificates: [(await issue('receipts', aheadMs)).raw.toString('base64')],
    });
    return { issue, signs };
  };

  it('judges what comes while something newer of its owners is on its way by that', async () => {
    const news = Promise.withResolvers<void>();
    let isHeard = false;
    bench = await openWorkbench({
      deps: {
        owners: {
          current: () => ({ policies: createPolicySet(isHeard ? [bench.policy] : []) }),
          hearing: () => (isHeard ? undefined : news.promise),
        },
      },
    });
    const ran = bench.run([{}]);
    // Time enough for one that is judged at once.
    await setImmediate();
    isHeard = true;
    news.resolve();
    expect((await ran).receipt.status).toBe('success');
  });

  it('takes nothing that it could sign no verifiable receipt of, and says so, until it has another one', async () => {
    const { issue, signs } = await endings();
    const signer = createReloadableSigner(await signs(-2 * hourMs));
    let tls = await issue('tls', 0);
    bench = await openWorkbench({ deps: { signer, tlsCertificate: () => tls } });
    const isRefused = async (why: string) => {
      expect(await bench.gate.next('refused', bench.offer([{}]))).toMatchObject({
        reason: 'SANDBOX_UNAVAILABLE',
        lasting: false,
        message: expect.stringContaining(why),
        receiptJson: Buffer.alloc(0),
      });
      bench.gate.connect(bench.executor);
      expect(bench.gate.all('hello').at(-1)?.shortage).toContain(why);
    };
    await isRefused('another receipt certificate');
    signer.replace(await signs(0));
    expect((await bench.run([{}])).receipt.status).toBe('success');
    tls = await issue('tls', -2 * hourMs);
    await isRefused('another TLS certificate');
    tls = await issue('tls', 0);
    expect((await bench.run([{}])).receipt.status).toBe('success');
    bench.gate.connect(bench.executor);
    expect(bench.gate.all('hello').at(-1)?.shortage).toBe('');
  });

  it('takes no run that may outlast its receipt certificate, unless one is still to be renewed by itself', async () => {
    const { signs } = await endings();
    const signer = createReloadableSigner(await signs(-hourMs / 2));
    const long = ['one', 'two', 'three', 'four'].map((id) => ({ id, timeout_sec: 600 }));
    const isRefused = async () => {
      const refused = await bench.gate.next('refused', bench.offer(long));
      expect(refused).toMatchObject({
        reason: 'SANDBOX_UNAVAILABLE',
        lasting: false,
        receiptJson: Buffer.alloc(0),
        message: expect.stringContaining('this may run for 2440 s'),
      });
    };
    bench = await openWorkbench({ deps: { signer } });
    await isRefused();
    expect((await bench.run([{ timeout_sec: 60 }])).receipt.status).toBe('success');
    await bench.close();
    bench = await openWorkbench({ deps: { signer }, executor: { caAddress: '127.0.0.1:1' } });
    expect((await bench.run(long)).receipt.status).toBe('success');
    signer.replace(await signs(-hourMs * 0.7));
    await isRefused();
    expect((await bench.run([{ timeout_sec: 60 }])).receipt.status).toBe('success');
  });
});
