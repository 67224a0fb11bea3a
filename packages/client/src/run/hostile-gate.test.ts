import { createPrivateKey, createPublicKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandContract, contractSha256 } from '@csc-fleet/common/contract';
import {
  createKeyRing,
  createSigner,
  generateKeyPair,
  type KeyEntry,
  type Signer,
} from '@csc-fleet/common/crypto';
import { sha256Tagged } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { ownersKeyId, parseCertificates, sealChained, signResolution } from '@csc-fleet/common/evidence';
import { ExecutionState, OutputStream, Verdict } from '@csc-fleet/common/messages';
import {
  certifyReceiptKey,
  createDevelopmentPki,
  issueCertificate,
  toCertificate,
} from '@csc-fleet/common/pki';
import type { ReceiptV02, ReceiptVersion } from '@csc-fleet/common/receipt';
import { createSealer, makeSealKey } from '@csc-fleet/common/seal';
import { type Script, scriptedReceipt } from '@csc-fleet/test-kit/client/scripted-execution';
import { ScriptedGate, toPublicKey } from '@csc-fleet/test-kit/client/scripted-gate';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { connect } from '../client.ts';
import type { ConnectOptions } from '../connect-options.ts';
import { OutputOpener } from '../stream/sealed.ts';
import { checkSeen, createSeenChains } from '../verify/chains.ts';
import { createKnownExecutors } from '../verify/keys.ts';
import type { RunOptions } from './run.ts';

const main: CommandContract['commands'][number] = {
  id: 'main',
  exec: { argv: ['true'] },
  cwd: '/w',
  read_paths: [],
  write_paths: [],
  network: 'deny',
  env_allow: [],
  secret_refs: [],
  timeout_sec: 1,
  proposed_effect_type: 'observe',
};
const contract: CommandContract = {
  version: 'csc.v0.1',
  contract_id: 'contract-1',
  intent: 'a test',
  actor: { agent_id: 'a', session_id: 's', initiating_user: 'u', delegation_scope: 'd' },
  commands: [main],
  risk_class: 'low',
  approval_mode: 'policy_only',
  expected_outputs: [],
  justification: 'tests',
};
const twoCommands: CommandContract = { ...contract, commands: [main, { ...main, id: 'second' }] };

const executorUri = 'spiffe://csc.local/executor/host-1';
const gateSigner = createSigner(generateKeyPair().seed, 'gate-key');
const otherSigner = createSigner(generateKeyPair().seed, 'host-2-key');
const clientSigner = createSigner(generateKeyPair().seed, 'client-key');

const failure = { status: 'failed', exit_code: 3, failed_command_id: 'main', completed_command_ids: [] };
const failedCommand = {
  command_id: 'main',
  argv_sha256: JSON.parse(scriptedReceipt({ contractSha256: 'a'.repeat(64) }, gateSigner).toString())
    .commands[0].argv_sha256,
  exit_code: 3,
  ended: 'exit',
  stdout_hash: sha256Tagged(''),
  stderr_hash: sha256Tagged(''),
  stdout_bytes: 0,
  stderr_bytes: 0,
};

/** A gate that lies as the script says; it names the keys of a gate, of two executors and of a client. */
async function hostile(script: Partial<Script> = {}, of: CommandContract = contract): Promise<ScriptedGate> {
  const gate = await new ScriptedGate({ contractSha256: contractSha256(of), ...script }).listen();
  gate.keys.push(toPublicKey(gateSigner, 'spiffe://csc.local/gate/gate'));
  gate.keys.push(toPublicKey(otherSigner, 'spiffe://csc.local/executor/host-2'));
  gate.keys.push(toPublicKey(clientSigner, 'spiffe://csc.local/client/host-1'));
  onTestFinished(() => gate[Symbol.asyncDispose]());
  return gate;
}

function run(gate: ScriptedGate, options: Partial<ConnectOptions> & RunOptions = {}, of = contract) {
  const client = connect({ ...gate.connectOptions, ...options });
  onTestFinished(() => client.close());
  return client.run(of, options);
}

async function refusal(result: Promise<unknown>): Promise<string> {
  const reason = await result.then(
    () => 'it was believed',
    (error: unknown) => error,
  );
  return isCscError(reason) ? reason.code : String(reason);
}

const sha = contractSha256(contract);
const forged = (receipt: object, signer = gateSigner): Partial<Script> => ({
  receiptJson: scriptedReceipt({ contractSha256: sha, receipt }, signer),
});

describe('a hostile gate', () => {
  it('cannot make a success of a failure: state and exit code are the receipt’s', async () => {
    const gate = await hostile({
      receipt: { ...failure, commands: [failedCommand] },
      told: { state: ExecutionState.SUCCEEDED, exitCode: 0, executorId: 'host-9' },
    });
    const result = await run(gate);
    expect(result.execution).toMatchObject({
      state: ExecutionState.FAILED,
      exitCode: 3,
      executorId: 'host-1',
    });
    expect(result.exitCode).toBe(3);
    expect(result.contradiction).toBe('succeeded with exit code 0');
  });

  it('cannot make a failure of a success', async () => {
    const result = await run(await hostile({ told: { state: ExecutionState.FAILED, exitCode: 9 } }));
    expect(result).toMatchObject({ exitCode: 0, execution: { state: ExecutionState.SUCCEEDED } });
    expect(result.contradiction).toBe('failed with exit code 9');
  });

  it.each([
    ['success', ExecutionState.SUCCEEDED],
    ['failure', ExecutionState.FAILED],
    ['refusal', ExecutionState.BLOCKED],
    ['end of its own making', ExecutionState.RUNNING],
  ])('cannot claim a %s without a receipt', async (_, state) => {
    const gate = await hostile({ receiptJson: Buffer.alloc(0), told: { state, exitCode: 0 } });
    expect(await refusal(run(gate))).toBe('RECEIPT_MISSING');
  });

  it('has no exit code to give where the host was lost', async () => {
    const told = { state: ExecutionState.LOST, exitCode: 0 };
    const result = await run(await hostile({ receiptJson: Buffer.alloc(0), told }));
    expect(result.exitCode).toBe(69);
    expect(result.execution).not.toHaveProperty('exitCode');
  });

  it('cannot say for the owners that nobody waits for it any more', async () => {
    const [owner, stranger] = [1, 2].map((seed) => {
      const { publicKey } = createSigner(Buffer.alloc(32, seed), 'x');
      return createSigner(Buffer.alloc(32, seed), ownersKeyId(publicKey));
    });
    if (owner === undefined || stranger === undefined) throw new Error('there are two');
    const subject = {
      trust_domain: 'csc.local',
      execution_id: 'exec-1',
      contract_sha256: contractSha256(contract),
    };
    const say = (change: object, signer = owner) =>
      signResolution({ ...subject, ...change }, 'burnt down', signer, new Date());
    const told = { state: ExecutionState.LOST, error: 'resolved by the owners: all is well' };
    const lost = (resolutionsJson: Buffer[]) =>
      hostile({ receiptJson: Buffer.alloc(0), told, resolutionsJson });
    const keyval = (signer: Signer) => ({
      keyval: { public: Buffer.from(signer.publicKey).toString('hex') },
    });
    const keys = { [owner.keyId]: keyval(owner), [stranger.keyId]: keyval(stranger) };
    const roles = {
      targets: { keyids: [owner.keyId], threshold: 1 },
      timestamp: { keyids: [stranger.keyId] },
    };
    const ownersRoot = Buffer.from(JSON.stringify({ signed: { _type: 'root', keys, roles } }));
    const genuine = await lost([say({})]);
    const result = await run(genuine, { ownersRoot });
    expect(result).toMatchObject({ exitCode: 69, execution: { state: ExecutionState.LOST } });
    expect(result.receipt).toBeUndefined();
    expect(result.resolution).toMatchObject({ verified: true, reason: 'burnt down', keyIds: [owner.keyId] });
    expect(result.execution.error).toMatch(/^the owners have resolved it.*nobody knows: burnt down$/);
    // Who has no root of theirs is told whose word it is.
    const unverified = await run(genuine);
    expect(unverified).toMatchObject({ exitCode: 69, resolution: { verified: false } });
    expect(unverified.execution.error).toMatch(/^the owners have resolved it: .*the gate alone says so/);
    for (const forged of [
      say({}, stranger),
      say({}, gateSigner),
      say({ execution_id: 'exec-2' }),
      say({ contract_sha256: '0'.repeat(64) }),
      // Of an earlier run of the same contract, whose name the gate gives to this one.
      signResolution(subject, 'burnt down', owner, new Date(Date.now() - 3_600_000)),
      Buffer.from('{}'),
    ])
      expect(await refusal(run(await lost([forged]), { ownersRoot }))).toBe('RESOLUTION_INVALID');
    using client = connect({ ...(await lost([say({}, stranger)])).connectOptions, ownersRoot });
    await expect(client.getExecution('exec-1')).rejects.toMatchObject({ code: 'RESOLUTION_INVALID' });
    await expect(client.follow('exec-1')).rejects.toMatchObject({ code: 'RESOLUTION_INVALID' });
    using other = connect({ ...genuine.connectOptions, ownersRoot });
    await expect(other.getExecution('exec-1')).resolves.toMatchObject({ resolution: { verified: true } });
    await expect(other.getExecution('exec-2')).rejects.toMatchObject({ code: 'RESOLUTION_INVALID' });
    for (const state of [ExecutionState.SUCCEEDED, ExecutionState.AWAITING_APPROVAL]) {
      const ended = await hostile({
        receiptJson: Buffer.alloc(0),
        told: { ...told, state },
        resolutionsJson: [say({})],
      });
      expect(await refusal(run(ended, { ownersRoot }))).toBe('RECEIPT_MISSING');
    }
    const noRoot = { ...genuine.connectOptions, ownersRoot: Buffer.from('{}') };
    expect(() => connect(noRoot)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it.each<[string, Partial<Script>]>([
    ['of another execution', { receipt: { execution_id: 'exec-2' } }],
    ['of another contract', { receipt: { contract_sha256: '0'.repeat(64) } }],
    ['of another executor', { receipt: { executor_id: 'host-2' } }],
    ['that names no executor', { receipt: { executor_id: undefined } }],
    ['of an earlier run', { receipt: { ended_at: '2026-01-01T00:00:00Z' } }],
    ['that another executor has signed', forged({}, otherSigner)],
    ['that the gate has signed itself', forged({})],
    ['that the gate has signed for nobody', forged({ executor_id: undefined, commands: [] })],
    ['that a client has signed', forged({}, clientSigner)],
    ['with no command', { receipt: { commands: [] } }],
    [
      'with a command of its own',
      { receipt: { commands: [{ ...failedCommand, exit_code: 0, command_id: 'mine' }] } },
    ],
    [
      'with other arguments',
      { receipt: { ...failure, commands: [{ ...failedCommand, argv_sha256: '0'.repeat(64) }] } },
    ],
    ['whose success contradicts itself', { receipt: { commands: [failedCommand] } }],
    ['whose success has an exit code', { receipt: { exit_code: 1 } }],
    ['of an older version', { receiptVersion: 'csc.receipt.v0.1' }],
  ])('cannot pass off a receipt %s', async (_, script) => {
    expect(await refusal(run(await hostile(script)))).toBe('RECEIPT_INVALID');
  });

  it('cannot give an older version for the default either, nor a newer one for v0.1', async () => {
    const newer = await hostile({ receiptVersion: 'csc.receipt.v0.2' });
    expect(await refusal(run(newer, { receiptVersion: 'csc.receipt.v0.1' }))).toBe('RECEIPT_INVALID');
  });

  it('cannot cut a receipt’s list of commands short', async () => {
    const v02 = await hostile({}, twoCommands);
    expect(await refusal(run(v02, {}, twoCommands))).toBe('RECEIPT_INVALID');
    const v01 = await hostile({ receiptVersion: 'csc.receipt.v0.1' }, twoCommands);
    expect(await refusal(run(v01, { receiptVersion: 'csc.receipt.v0.1' }, twoCommands))).toBe(
      'RECEIPT_INVALID',
    );
  });

  it('cannot give another receipt as the original of a v0.1 one', async () => {
    const v02 = (receipt: object = {}): ReceiptV02 => {
      const script = { contractSha256: sha, receipt: { executor_id: 'host-2', ...receipt } };
      return JSON.parse(scriptedReceipt(script, otherSigner).toString());
    };
    const asked = { receiptVersion: 'csc.receipt.v0.1' } as const;
    const link = { epoch: 'a'.repeat(32), sequence: 7, previousSha256: 'b'.repeat(64) };
    const sealing = { version: 'csc.receipt.v0.1', signer: otherSigner, now: new Date() } as const;
    const good = sealChained(v02(), sealing, link);
    const other = sealChained(v02({ runner_version: '0' }), sealing, link);
    expect(await run(await hostile(good), asked)).toMatchObject({
      exitCode: 0,
      originalJson: good.originalJson,
    });
    const swapped = { receiptJson: good.receiptJson, originalJson: other.originalJson };
    expect(await refusal(run(await hostile(swapped), asked))).toBe('RECEIPT_INVALID');
    const forgedOriginal = sealChained(v02(), { ...sealing, signer: gateSigner }, link).originalJson;
    expect(await refusal(run(await hostile({ ...good, originalJson: forgedOriginal }), asked))).not.toBe(
      'it was believed',
    );
    const doubled = { receiptJson: good.originalJson, originalJson: good.originalJson };
    expect(await refusal(run(await hostile(doubled)))).toBe('RECEIPT_INVALID');
  });

  it.each(['csc.receipt.v0.1', 'csc.receipt.v0.2'] as const)(
    'cannot change output under %s',
    async (version) => {
      const chunk = (commandId: string, stream: OutputStream, text: string) => ({
        item: {
          $case: 'chunk' as const,
          value: { commandId, stream, offset: 0, monotonicNs: 0, data: Buffer.from(text) },
        },
      });
      const honest = chunk('main', OutputStream.STDOUT, 'all fine');
      const shows: Script['shown'][] = [
        [chunk('main', OutputStream.STDOUT, 'all good')],
        [chunk('main', OutputStream.STDERR, 'all fine')],
        [],
        [honest, chunk('main', OutputStream.TERMINAL, 'more')],
        [honest, chunk('main', OutputStream.STDERR, 'more')],
        ...(version === 'csc.receipt.v0.2' ? [[honest, chunk('other', OutputStream.STDOUT, 'more')]] : []),
      ];
      for (const shown of shows) {
        const gate = await hostile({
          receiptVersion: version,
          stdout: ['all fine'],
          ...(shown && { shown }),
        });
        expect(await refusal(run(gate, { receiptVersion: version }))).toBe('RECEIPT_INVALID');
        const client = connect(gate.connectOptions);
        onTestFinished(() => client.close());
        // Whoever only follows has not asked for a version: both are held against the output.
        expect(await refusal(client.follow('exec-1'))).toBe('RECEIPT_INVALID');
      }
    },
  );

  it.each([
    ['of one command more than a contract has', 81, 'c'],
    ['of commands with ids longer than a contract', 5, 'c'.repeat(1_048_576)],
  ])('cannot fill a client with what it keeps of each stream: output %s', async (_, count, name) => {
    const end = (index: number) => ({
      item: {
        $case: 'end' as const,
        value: {
          commandId: `${name}${index}`,
          stream: OutputStream.STDOUT,
          length: 0,
          sha256: '',
          truncated: false,
        },
      },
    });
    const gate = await hostile({ shown: Array.from({ length: count }, (__, index) => end(index)) });
    const told = {
      code: 'RECEIPT_INVALID',
      message: expect.stringContaining('more commands than a contract'),
    };
    await expect(run(gate)).rejects.toMatchObject(told);
    const client = connect(gate.connectOptions);
    onTestFinished(() => client.close());
    const read = async (): Promise<void> => {
      for await (const __ of client.readOutput('exec-1'));
    };
    await expect(read()).rejects.toMatchObject(told);
  });

  it('is told which output nobody vouches for, where the host was cut off', async () => {
    const chunk = (offset: number, text: string) => ({
      item: {
        $case: 'chunk' as const,
        value: {
          commandId: 'main',
          stream: OutputStream.STDOUT,
          offset,
          monotonicNs: 0,
          data: Buffer.from(text),
        },
      },
    });
    const gate = await hostile({ stdout: ['all fine'], shown: [chunk(0, 'all fine'), chunk(8, ' so far')] });
    await expect(run(gate)).rejects.toMatchObject({
      code: 'RECEIPT_INVALID',
      message: expect.stringMatching(/vouches for 8 bytes, and 15 arrived here.*Read the output again/),
    });
    // And which is not there any more.
    const less = await hostile({ stdout: ['all fine'], shown: [chunk(0, 'all')] });
    await expect(run(less)).rejects.toMatchObject({
      code: 'RECEIPT_INVALID',
      message: expect.stringMatching(/vouches for 8 bytes, and 3 arrived here.*the last 5 are lost/),
    });
  });

  it('may say that it refuses, and nothing more', async () => {
    const nothing = { exit_code: undefined, stdout_hash: undefined, stderr_hash: undefined };
    const blocked = { ...nothing, status: 'blocked', ended: 'refused', commands: [], executor_id: undefined };
    const completed_command_ids: string[] = [];
    const denial = forged({ ...blocked, completed_command_ids });
    const told = { state: ExecutionState.BLOCKED };
    const result = await run(await hostile({ ...denial, told, verdict: Verdict.DENY }));
    expect(result).toMatchObject({
      receipt: { status: 'blocked' },
      refusal: undefined,
      contradiction: undefined,
    });
    const why = forged({ ...blocked, completed_command_ids, error: 'QUEUE_FULL: so many wait' });
    expect((await run(await hostile({ ...why, told }))).refusal).toEqual({
      reason: 'QUEUE_FULL',
      message: 'so many wait',
    });
    const shown = { ...denial, told, stdout: ['but look'] };
    expect(await refusal(run(await hostile(shown)))).toBe('RECEIPT_INVALID');
    // Pinned executors do not keep a gate from refusing, nor let it do anything else.
    const pins = { executorKeys: createKeyRing([entryOf(otherSigner.keyId, otherSigner.publicKey)]) };
    expect((await run(await hostile({ ...denial, told }), pins)).receipt?.status).toBe('blocked');
    expect(await refusal(run(await hostile(), pins))).toBe('KEY_UNKNOWN');
  });

  it('cannot have another contract approved', async () => {
    const gate = await hostile({ contractSha256: '0'.repeat(64), verdict: Verdict.NEEDS_APPROVAL });
    expect(await refusal(run(gate))).toBe('CONTRACT_HASH_MISMATCH');
  });
});

function entryOf(keyId: string, publicKey: Uint8Array, owner = executorUri): KeyEntry {
  return { keyId, publicKey, owner };
}

describe('the executors’ keys', () => {
  it('are asked for one by one', async () => {
    const gate = await hostile();
    await run(gate);
    expect(gate.keysAsked).toEqual([['key-1']]);
  });

  it('that are pinned are the only ones', async () => {
    const gate = await hostile();
    const pin = (owner: string) =>
      createKeyRing([{ keyId: 'key-1', publicKey: gate.signer.publicKey, ...(owner && { owner }) }]);
    expect((await run(gate, { executorKeys: pin(executorUri) })).exitCode).toBe(0);
    expect(gate.keysAsked).toEqual([]);
    expect(await refusal(run(gate, { executorKeys: createKeyRing([]) }))).toBe('KEY_UNKNOWN');
    // A key whose owner nobody named may be a gate's.
    expect(await refusal(run(gate, { executorKeys: pin('') }))).toBe('RECEIPT_INVALID');
    expect(await refusal(run(gate, { executorKeys: pin('spiffe://csc.local/gate/gate') }))).toBe(
      'RECEIPT_INVALID',
    );
  });

  it('are remembered from the first receipt on, and a change is refused', async () => {
    const knownExecutors = createKnownExecutors();
    await run(await hostile(), { knownExecutors });
    const other = await hostile();
    const error: unknown = await run(other, { knownExecutors }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'KEY_CHANGED', message: expect.stringContaining(executorUri) });
    // One client remembers by itself.
    const gate = await hostile();
    const client = connect(gate.connectOptions);
    onTestFinished(() => client.close());
    await client.run(contract);
    expect((await client.run(contract)).exitCode).toBe(0);
  });

  it('are not remembered for a receipt that does not count', async () => {
    const knownExecutors = createKnownExecutors();
    await refusal(run(await hostile({ receipt: { execution_id: 'exec-2' } }), { knownExecutors }));
    expect(await knownExecutors.keysOf(executorUri)).toEqual([]);
  });
});

describe('a hostile gate, before a client that pins the CA of receipt keys', () => {
  const owner = 'spiffe://csc.local/executor/host-2';
  const hourMs = 3_600_000;
  const executor = createSigner(generateKeyPair().seed, 'host-2-certified');
  let pki: string;
  let fleetCa: Buffer;
  let certified: Signer;

  const withCertificate = (file: string, of: Signer): Signer => ({
    ...of,
    certificates: parseCertificates(readFileSync(file), file).map(({ raw }) => raw.toString('base64')),
  });
  beforeAll(async () => {
    pki = mkdtempSync(join(tmpdir(), 'csc-fleet-ca-'));
    await createDevelopmentPki(pki, { executors: ['host-2'] });
    fleetCa = readFileSync(join(pki, 'ca.pem'));
    certified = withCertificate(await certifyReceiptKey(pki, owner, executor.publicKey), executor);
  });
  afterAll(() => rmSync(pki, { recursive: true }));

  const link = { epoch: 'a'.repeat(32), sequence: 1, previousSha256: undefined };
  function sealed(signer: Signer, version: ReceiptVersion = 'csc.receipt.v0.2', over: object = {}) {
    const script = { contractSha256: sha, receipt: { executor_id: 'host-2', ...over } };
    const receipt: ReceiptV02 = JSON.parse(scriptedReceipt(script, signer).toString());
    return sealChained(receipt, { version, signer, now: new Date() }, link);
  }

  it.each(['csc.receipt.v0.1', 'csc.receipt.v0.2'] as const)('is not asked for keys: %s', async (version) => {
    const gate = await hostile(sealed(certified, version));
    expect(await run(gate, { fleetCa, receiptVersion: version })).toMatchObject({ exitCode: 0 });
    expect(gate.keysAsked).toEqual([]);
  });

  it('cannot name a key for an executor, nor take the certificate off its receipt', async () => {
    const gate = await hostile(sealed(otherSigner));
    expect(await refusal(run(gate, { fleetCa }))).toBe('KEY_UNKNOWN');
    const bare = await hostile(sealed(executor));
    bare.keys.push(toPublicKey(executor, owner));
    expect(await refusal(run(bare, { fleetCa }))).toBe('KEY_UNKNOWN');
    const { receiptJson } = sealed(certified, 'csc.receipt.v0.1');
    const v01 = await hostile({ receiptJson });
    v01.keys.push(toPublicKey(executor, owner));
    expect(await refusal(run(v01, { fleetCa, receiptVersion: 'csc.receipt.v0.1' }))).toBe('KEY_UNKNOWN');
  });

  it('cannot use a certificate of a key that is pinned as revoked, under whatever id', async () => {
    const gate = await hostile(sealed(certified));
    const { publicKey } = executor;
    const pinned = (more: object) => createKeyRing([{ keyId: 'lost', publicKey, owner, ...more }]);
    expect(await run(gate, { fleetCa, executorKeys: pinned({}) })).toMatchObject({ exitCode: 0 });
    const again = await hostile(sealed(certified));
    const executorKeys = pinned({ revokedAt: new Date() });
    expect(await refusal(run(again, { fleetCa, executorKeys }))).toBe('KEY_REVOKED');
  });

  it('cannot use a certificate for another key, of another executor, of another CA, for TLS, or that is over', async () => {
    const thief = createSigner(generateKeyPair().seed, executor.keyId);
    const other = mkdtempSync(join(tmpdir(), 'csc-fleet-ca-'));
    onTestFinished(() => rmSync(other, { recursive: true }));
    await createDevelopmentPki(other, { executors: ['host-2'] });
    const elsewhere = await certifyReceiptKey(other, owner, thief.publicKey);
    const stolen = { ...thief, certificates: certified.certificates ?? [] };
    const named = await certifyReceiptKey(pki, 'spiffe://csc.local/executor/host-3', thief.publicKey);
    const past = { now: () => new Date('2020-01-01T00:00:00Z') };
    const ca = {
      certificate: toCertificate(fleetCa.toString()),
      key: createPrivateKey(readFileSync(join(pki, 'ca.key'))),
    };
    const x = Buffer.from(executor.publicKey).toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    const dates = { notBefore: new Date(Date.now() - hourMs), notAfter: new Date(Date.now() + hourMs) };
    const tls = join(other, 'tls.pem');
    writeFileSync(
      tls,
      await issueCertificate({ commonName: 'host-2', use: 'client', uri: owner, ...dates }, key, ca),
    );
    for (const signer of [
      stolen,
      withCertificate(elsewhere, thief),
      withCertificate(named, thief),
      withCertificate(join(pki, 'executor-host-2.pem'), executor),
      withCertificate(tls, executor),
      withCertificate(await certifyReceiptKey(pki, owner, executor.publicKey, past), executor),
    ]) {
      const code = await refusal(run(await hostile(sealed(signer)), { fleetCa }));
      expect(['RECEIPT_INVALID', 'SIGNATURE_INVALID']).toContain(code);
    }
  });

  it('cannot use an executor of another fleet, which has its name by the same CA', async () => {
    const thief = createSigner(generateKeyPair().seed, executor.keyId);
    const abroad = owner.replace('csc.local', 'elsewhere.local');
    const signer = withCertificate(await certifyReceiptKey(pki, abroad, thief.publicKey), thief);
    const principal = 'spiffe://csc.local/client/agent';
    const ofAnother = [
      refusal(run(await hostile(sealed(signer)), { fleetCa, principal })),
      refusal(run(await hostile(sealed(signer, 'csc.receipt.v0.2', { principal })), { fleetCa })),
    ];
    expect(await Promise.all(ofAnother)).toEqual(['RECEIPT_INVALID', 'RECEIPT_INVALID']);
    expect(await refusal(run(await hostile(sealed(certified)), { fleetCa, principal }))).toBe(
      'it was believed',
    );
  });
});

describe('a hostile gate, before a client that remembers executors’ chains', () => {
  const hour = 3_600_000;
  const epoch = 'a'.repeat(32);
  const sealed = (sequence: number, previousSha256?: string, over: object = {}, now = new Date()) => {
    const script = { contractSha256: sha, receipt: { executor_id: 'host-2', ...over } };
    const receipt: ReceiptV02 = JSON.parse(scriptedReceipt(script, otherSigner).toString());
    const sealing = { version: 'csc.receipt.v0.2', signer: otherSigner, now } as const;
    return sealChained(receipt, sealing, { epoch, previousSha256, sequence });
  };
  const seenBy = async (...receipts: Partial<Script>[]): Promise<string> => {
    const seenChains = createSeenChains();
    for (const [index, script] of receipts.entries()) {
      const code = await refusal(run(await hostile(script), { seenChains }));
      if (index === receipts.length - 1) return code;
      expect(code).toBe('it was believed');
    }
    return 'nothing was seen';
  };

  it('cannot show two receipts in one place to two that ask at once', async () => {
    const seen = createSeenChains();
    const shown = [sealed(7, 'b'.repeat(64)), sealed(7, 'b'.repeat(64), { runner_version: '0' })];
    const checked = shown.map(({ receiptJson, originalJson = receiptJson }) =>
      checkSeen(
        seen,
        'spiffe://csc.local/executor/host-2',
        JSON.parse(originalJson.toString()),
        originalJson,
      ),
    );
    const outcomes = await Promise.allSettled(checked);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('cannot show two receipts in one place, nor one that follows another than was shown', async () => {
    const [seventh, other] = [sealed(7, 'b'.repeat(64)), sealed(7, 'b'.repeat(64), { runner_version: '0' })];
    expect(await seenBy(seventh, other)).toBe('RECEIPT_INVALID');
    expect(await seenBy(seventh, sealed(8, other.receiptSha256))).toBe('RECEIPT_INVALID');
    expect(await seenBy(sealed(8, other.receiptSha256), seventh)).toBe('RECEIPT_INVALID');
    const { receiptSha256 } = seventh;
    // Those between are other clients'.
    const honest = [seventh, seventh, sealed(8, receiptSha256), sealed(12, 'c'.repeat(64))];
    expect(await seenBy(...honest)).toBe('it was believed');
  });

  it('cannot go back to an earlier state of a host, nor take a receipt out of its chain', async () => {
    const late = new Date(Date.now() + hour);
    expect(await seenBy(sealed(7, 'b'.repeat(64)), sealed(5, 'd'.repeat(64), {}, late))).toBe(
      'RECEIPT_INVALID',
    );
    expect(await seenBy(sealed(7, 'b'.repeat(64)), sealed(5, 'd'.repeat(64)))).toBe('it was believed');
    const bare = scriptedReceipt({ contractSha256: sha, receipt: { executor_id: 'host-2' } }, otherSigner);
    expect(await seenBy(sealed(7, 'b'.repeat(64)), { receiptJson: bare })).toBe('RECEIPT_INVALID');
  });
});

describe('a hostile gate, before a client that signs what it submits', () => {
  const signing = { submitter: clientSigner, principal: 'spiffe://csc.local/client/me' };
  const nothing = { exit_code: undefined, stdout_hash: undefined, stderr_hash: undefined, commands: [] };
  const refused = { ...nothing, status: 'blocked', ended: 'refused', completed_command_ids: [] };
  const numbered = { executor_epoch: 'a'.repeat(32), sequence: 1 };

  it.each([
    ['that names another submission', { submission_sha256: 'f'.repeat(64) }],
    ['of a refusal without the submission', { ...refused, ...numbered }],
  ])('cannot pass off a receipt %s', async (_, receipt) => {
    expect(await refusal(run(await hostile({ receipt })))).toBe('it was believed');
    expect(await refusal(run(await hostile({ receipt }), signing))).toBe('RECEIPT_INVALID');
    // Under a key of the caller's own it may be of the submission that came with it first.
    const again = { ...signing, idempotencyKey: 'mine' };
    expect(await refusal(run(await hostile({ receipt }), again))).toBe('it was believed');
  });

  it('cannot have output shown or believed that was to be sealed and is not', async () => {
    const key = makeSealKey();
    const printed = { stdout: ['what nobody between was to read'] };
    const shown: string[] = [];
    const handlers = { onStdout: (data: Buffer) => void shown.push(data.toString()) };
    expect(await refusal(run(await hostile(printed), { ...signing, handlers }))).toBe('it was believed');
    expect(shown.splice(0)).not.toEqual([]);
    const sealing = { ...signing, sealTo: key.publicKey, handlers };
    expect(await refusal(run(await hostile(printed), sealing))).toBe('RECEIPT_INVALID');
    shown.splice(0);
    expect(await refusal(run(await hostile(printed), { ...sealing, sealKeys: () => key }))).toBe(
      'SEAL_INVALID',
    );
    expect(shown).toEqual([]);
  });

  it('cannot cut off sealed output and call it whole', async () => {
    const key = makeSealKey();
    const stream = { executionId: 'e', commandId: 'main', stream: 'stdout' };
    const sealer = await createSealer(key.publicKey, stream);
    const [first, second, last] = [
      await sealer.push(Buffer.from('all fine')),
      await sealer.push(Buffer.from(', but for one')),
      await sealer.end(),
    ];
    const at = { commandId: 'main', stream: OutputStream.STDOUT };
    const read = async (...records: Buffer[]) => {
      const data = Buffer.concat(records);
      const opener = new OutputOpener({ keys: () => key, isExpected: true });
      const chunk = { type: 'chunk', ...at, offset: 0, monotonicNs: 0, data } as const;
      const end = { type: 'end', ...at, length: data.length, sha256: '', truncated: false } as const;
      return [...(await opener.open('e', chunk)), ...(await opener.open('e', end))].map((it) =>
        it.type === 'end' ? it.truncated : it.data.toString(),
      );
    };
    expect(await read(first, second, last)).toEqual(['all fine, but for one', false]);
    expect(await read(first)).toEqual(['all fine', true]);
    expect(await read(first, second)).toEqual(['all fine, but for one', true]);
  });

  it('is not helped by a job that prints what begins as sealed output does', async () => {
    const key = makeSealKey();
    const sealer = await createSealer(key.publicKey, {
      executionId: 'x',
      commandId: 'main',
      stream: 'stdout',
    });
    const data = await sealer.push(Buffer.from('for somebody else'));
    const value = { commandId: 'main', stream: OutputStream.STDOUT, offset: 0, monotonicNs: 0, data };
    const command = { ...failedCommand, exit_code: 0 };
    const printed = { stdout_hash: sha256Tagged(data), stdout_bytes: data.length };
    const gate = await hostile({
      shown: [{ item: { $case: 'chunk', value } }],
      receipt: { stdout_hash: printed.stdout_hash, commands: [{ ...command, ...printed }] },
    });
    const shown: Buffer[] = [];
    const handlers = { onStdout: (it: Buffer) => void shown.push(it) };
    expect(await refusal(run(gate, { ...signing, handlers, sealKeys: () => key }))).toBe('it was believed');
    expect(Buffer.concat(shown)).toEqual(data);
  });

  it('cannot pass off what another host has signed of what is for one alone, a refusal or a run', async () => {
    for (const receipt of [{}, { ...refused, ...numbered }]) {
      const others = forged({ ...receipt, executor_id: 'host-2' }, otherSigner);
      const named = { ...signing, idempotencyKey: 'mine' };
      expect(await refusal(run(await hostile(others), named))).toBe('it was believed');
      const bound = await hostile({ ...others, bindTo: ['host-1'] });
      expect(await refusal(run(bound, named))).toBe('RECEIPT_INVALID');
      const asked = { ...named, executorId: 'host-1' };
      expect(await refusal(run(await hostile(others), asked))).toBe('RECEIPT_INVALID');
    }
    // That it refuses is the gate's own to say.
    const own = forged({ ...refused, executor_id: undefined });
    expect(await refusal(run(await hostile({ ...own, bindTo: ['host-1'] }), signing))).toBe(
      'it was believed',
    );
  });
});
