import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type GateClient } from '@csc-fleet/client';
import { createSigner } from '@csc-fleet/common/crypto';
import { ExecutionState } from '@csc-fleet/common/messages';
import { defaultLifetimes, publishStaged } from '@csc-fleet/common/policy-repository';
import { type ExecutorOptions, type Fleet, startFleet } from '@csc-fleet/test-kit/fleet';
import { testPolicy } from '@csc-fleet/test-kit/policy';
import { frozen, TestRepository } from '@csc-fleet/test-kit/policy-repository';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const alice = 'spiffe://csc.local/client/alice';
const submitter = createSigner(Buffer.alloc(32, 7), 'alice-1');

const bindings = (policies: readonly string[]) => ({
  bindings_version: 'csc.bindings.v0.2',
  bindings: [
    { identity: alice, policies },
    { identity: 'spiffe://csc.local/client/boss', policies, roles: ['admin'] },
  ],
  submitters: [
    {
      principal: alice,
      keys: [{ key_id: 'alice-1', public_key: Buffer.from(submitter.publicKey).toString('base64') }],
    },
  ],
});

// No refresh by itself within the test: who hears of something new has been told.
const from = (source: string): Pick<ExecutorOptions, 'config'> => ({
  config: {
    policies: undefined,
    policy_repository: { root: 'root.json', from: source, refresh_sec: 3600 },
  },
});
const named = (name: string, source: string): ExecutorOptions => ({
  name,
  labels: { host: name },
  ...from(source),
});
const away = named('away', 'gate');
const frozenHost = named('frozen', 'copy');
const rolledBack = named('rolled-back', 'gate');

let fleet: Fleet;
let owners: TestRepository;
let client: GateClient;

beforeAll(async () => {
  fleet = await startFleet({
    gate: {
      policies: undefined,
      bindings: undefined,
      policy_repository: { directory: 'owners', root: 'root.json', refresh_sec: 3600 },
      executor_lost_after_sec: 1,
    },
    clients: ['boss'],
    executors: [away, frozenHost, rolledBack],
    prepare: (directory) => {
      owners = new TestRepository(join(directory, 'owners'));
      owners.publish({
        'policies/tests.yaml': testPolicy(join(directory, 'workspace')),
        'bindings.yaml': bindings(['tests']),
      });
      writeFileSync(join(directory, 'root.json'), owners.root);
      cpSync(owners.published(''), join(directory, 'copy'), { recursive: true });
    },
  });
  client = connect({ address: fleet.address, tls: fleet.tls('alice'), submitter });
});
afterAll(async () => {
  client.close();
  await fleet[Symbol.asyncDispose]();
});

/** Publishes, and has the gate look: resolves once it has taken it, and these hosts, which it tells. */
async function publish(
  files: Parameters<TestRepository['publish']>[0],
  hosts: readonly string[] = [],
): Promise<void> {
  const services = [fleet.gate, ...hosts.map((host) => fleet.executor(host))];
  const taken = services.map((it) => it.waitFor(/the owners have published something/, it.log.length));
  owners.publish(files);
  fleet.gate.child.kill('SIGHUP');
  await Promise.all(taken);
}

// With the modes of its directories.
const copyDisk = (from: string, to: string) => execFileSync('cp', ['-a', from, to]);

const epochOf = (receipt: object | undefined): unknown =>
  Object.entries(receipt ?? {}).find(([name]) => name === 'executor_epoch')?.[1];

/** What a source hands over that was signed two days ago, is good for five, and is newer than what the host has. */
function holdBack(copy: string): void {
  const held = join(fleet.directory, 'held');
  cpSync(owners.directory, held, { recursive: true });
  rmSync(join(fleet.directory, copy), { recursive: true });
  const lifetimes = { ...defaultLifetimes, online: 5 * 86_400_000 };
  publishStaged(held, owners.online, new Date(Date.now() - 2 * 86_400_000), lifetimes);
  cpSync(join(held, 'published'), join(fleet.directory, copy), { recursive: true });
}

const run = (host: string, policyProfile = '', queueTimeoutMs = 20_000) =>
  client.run(fleet.contract({ argv: ['echo', 'up'] }), {
    selector: { host },
    policyProfile,
    queueTimeoutMs,
  });

const published = (host: string): Promise<unknown> =>
  fleet.executor(host).waitFor(/the owners have published something new/);

describe('a roll-out over three hosts', () => {
  it('reaches each of them, or stops it', async () => {
    await Promise.all(['away', 'frozen', 'rolled-back'].map(published));
    const first = await Promise.all(['away', 'frozen', 'rolled-back'].map((host) => run(host)));
    expect(first.map(({ receipt }) => receipt)).toEqual(
      first.map(() => expect.objectContaining({ status: 'success', policy_version: 1 })),
    );

    // What the disks of three hosts look like that were away, cut off, and restored from a backup.
    const state = (host: string, path: string) => join(fleet.directory, `executor-${host}${path}`);
    for (const { name } of [away, frozenHost, rolledBack]) await fleet.executor(name).stop();
    copyDisk(state('rolled-back', ''), join(fleet.directory, 'backup'));
    const wide = testPolicy(fleet.workspace, { name: 'wide' });
    await publish({ 'policies/wide.yaml': wide, 'bindings.yaml': bindings(['tests', 'wide']) });
    await fleet.startExecutor(rolledBack);
    await published('rolled-back');
    const forgotten = (await run('rolled-back', 'wide')).receipt;
    await fleet.executor('rolled-back').stop();
    rmSync(state('rolled-back', ''), { recursive: true });
    copyDisk(join(fleet.directory, 'backup'), state('rolled-back', ''));
    holdBack('copy');

    await Promise.all([away, frozenHost, rolledBack].map((it) => fleet.startExecutor(it)));
    await Promise.all(['away', 'rolled-back'].map(published));
    const second = await Promise.all(['away', 'rolled-back'].map((host) => run(host, 'wide')));
    for (const { receipt } of second) expect(receipt).toMatchObject({ status: 'success', policy_version: 2 });
    // By what the gate has kept of its chain the host whose disk is older has seen that, and begun anew.
    await fleet.executor('rolled-back').waitFor(/OLDER THAN WHAT IT HAS SIGNED/);
    expect(forgotten).toMatchObject({ sequence: 2 });
    expect(second[1]?.receipt).toMatchObject({ sequence: 1 });
    expect(epochOf(second[1]?.receipt)).not.toBe(epochOf(forgotten));
    // It waits for the host to hear something, which this one does not.
    expect(await run('frozen', '', 500)).toMatchObject({
      execution: { state: ExecutionState.EXPIRED, error: expect.stringContaining('POLICY_STALE') },
      receipt: { status: 'expired' },
    });
  });

  it('ends what runs, and starts nothing more, once the owners have frozen the fleet', async () => {
    const started = Promise.withResolvers<void>();
    const running = client.run(fleet.contract({ argv: ['sh', '-c', 'echo up; sleep 600'] }), {
      selector: { host: 'away' },
      handlers: { onStdout: () => started.resolve() },
    });
    await started.promise;
    const end = { ...frozen, frozen: { ...frozen.frozen, running: 'end' } };
    await publish({ 'freeze.yaml': end }, ['away']);
    const { receipt } = await running;
    expect(receipt).toMatchObject({ status: expect.not.stringMatching('success') });
    await expect(run('away')).rejects.toMatchObject({
      code: 'NOT_PERMITTED',
      message: expect.stringContaining('EMERGENCY_DENY_ALL'),
    });
    // Whoever asks is told, admin or not.
    const why = /FROZEN.* since 2026-01-01T00:00:00.000Z.*what runs is ended: the build host was broken into/;
    expect(await fleet.csc(['status'])).toMatchObject({ code: 0, stdout: expect.stringMatching(why) });
    expect(await fleet.csc(['profiles'])).toMatchObject({ code: 0, stderr: expect.stringMatching(why) });
    const { frozen: shown } = JSON.parse((await fleet.csc(['status', '--json'])).stdout);
    expect(shown).toMatchObject({ reason: 'the build host was broken into', running: 'end' });
    await publish({ 'freeze.yaml': { freeze_version: frozen.freeze_version } }, ['away']);
    expect((await run('away')).receipt).toMatchObject({ status: 'success', policy_version: 4 });
  });

  it('leaves nothing that its owners cannot end, once a host is gone for good', async () => {
    const { executionId } = await client.submit(fleet.contract({ argv: ['sleep', '600'] }), {
      selector: { host: 'away' },
    });
    const following = client.follow(executionId);
    for await (const { type } of client.watch(executionId)) if (type === 'started') break;
    await fleet.executor('away').stop('SIGKILL');
    expect(await following).toMatchObject({ exitCode: 69, resolution: undefined });
    const cancelled = await fleet.csc(['cancel', executionId]);
    expect(cancelled.stderr).toMatch(/executor away is away.*an owner ends it: csc admin resolve/);

    const key = fleet.write('owner.pem', toPem(Buffer.alloc(32, 1)));
    const asked = await fleet.csc(['admin', 'resolve', executionId, '--reason', 'x', '--owner-key', key], {
      as: 'boss',
    });
    expect(asked).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /lost, on away since .*, which has been away since (.|\n)*nothing was signed/,
      ),
    });
    const resolve = (as: string, ...more: string[]) =>
      fleet.csc(['admin', 'resolve', executionId, '--reason', 'it burnt down', '--yes', ...more], { as });
    expect(await resolve('alice', '--owner-key', key)).toMatchObject({ code: 77 });
    const online = fleet.write('online.pem', toPem(Buffer.alloc(32, 2)));
    expect(await resolve('boss', '--owner-key', online)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not signed with a key of the owners'),
    });
    const signed = join(fleet.directory, 'signed.json');
    expect(await resolve('boss', '--owner-key', key, '--out', signed)).toMatchObject({ code: 0 });
    const done = { code: 0, stdout: expect.stringContaining('resolved') };
    expect(await resolve('boss', '--owner-key', key, '--with', signed)).toMatchObject(done);
    expect(await resolve('boss', '--owner-key', key)).toMatchObject(done);
    const over = await fleet.csc(['cancel', executionId]);
    expect(over.stderr).toMatch(/it is over: the owners have resolved it, and nothing is to be cancelled/);

    const root = ['--owners-root', join(fleet.directory, 'root.json')];
    const shown = (...more: string[]) => fleet.csc(['get', executionId, ...more]);
    const { stdout } = await shown(...root);
    expect(stdout).toMatch(/^state +lost$/m);
    expect(stdout).toMatch(/^error +the owners have resolved it.*nobody knows: it burnt down$/m);
    expect((await shown()).stdout).toMatch(
      /^error +the owners have resolved it: it burnt down \(the gate alone says so.*--owners-root/m,
    );
    expect(await shown('--follow', ...root)).toMatchObject({
      code: 69,
      stderr: expect.stringMatching(/LOST.*for good.*the owners have resolved it/),
    });
    // What its host says after all is shown beside it.
    await fleet.startExecutor(away);
    await expect.poll(() => client.getReceipt(executionId).catch(() => undefined)).toBeDefined();
    expect((await shown(...root)).stdout).toMatch(/^state +lost$(.|\n)*^receipt +came later: failed/m);
    expect((await run('away')).receipt).toMatchObject({ status: 'success' });
  });
});

// RFC 8410, section 7.
function toPem(seed: Buffer): string {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString();
}
