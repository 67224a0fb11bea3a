import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { DualControl } from '@csc-fleet/common/approval';
import type { CommandContract } from '@csc-fleet/common/contract';
import { createSigner, generateKeyPair, type Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { CscError, orThrow } from '@csc-fleet/common/errors';
import type {
  ExecutionEvent,
  ExecutionState,
  SubmitRequest,
  SubmitResponse,
} from '@csc-fleet/common/messages';
import {
  type Bindings,
  bindingsFromJson,
  createPolicySet,
  type PolicyDocument,
  type PolicySet,
  parsePolicy,
} from '@csc-fleet/common/policy';
import type { LogFields } from '@csc-fleet/common/service';
import { formatVkey } from '@csc-fleet/common/tlog';
import { vi } from 'vitest';
import {
  createOwners,
  type OwnersWord,
  type ReloadableOwners,
} from '../../../packages/gate/src/owners/index.ts';
import type { RetentionLimits } from '../../../packages/gate/src/retention/retention.ts';
import {
  createGate,
  type Gate,
  type GateDependencies,
  type GateOptions,
} from '../../../packages/gate/src/service/compose.ts';
import {
  defaultGateLimits,
  defaultRetention,
  type GateLimits,
} from '../../../packages/gate/src/service/config.ts';
import { openStore } from '../../../packages/gate/src/store/store.ts';
import { policyMembers } from '../policy.ts';
import { deniedContract, makeContract, toBytes } from './contracts.ts';
import { LocalClient } from './local-client.ts';
import { ScriptedExecutor, type ScriptedExecutorOptions } from './scripted-executor.ts';

/** Bound to the profiles `default` (its first), `wide` and `limited`, which is one of v0.2. */
export const agent = 'spiffe://csc.local/client/agent';
/** Bound to `default`. */
export const other = 'spiffe://csc.local/client/other';
/** Bound to nothing. */
export const stranger = 'spiffe://csc.local/client/stranger';

/** Of every test gate. */
export const gateIdentity = 'spiffe://csc.local/gate/test';

/** Of every test gate that keeps a log. */
export const logOrigin = 'csc.local/gate/test';

const storeFile = 'gate.db';

// Of the barrier in flushed().
const nobody = 'spiffe://csc.local/client/nobody';

/** Of the profile `limited`. */
export const policyLimits = { memory_bytes: 64 * 1024 * 1024, processes: 50, stdout_bytes: 4096 };

/** Options of a submission that does not wait for an executor that could run it. */
export const noWait = { receiptVersion: '', queueTimeout: { seconds: 0, nanos: 0 } };

/** A clock that stands still until it is told. */
export class TestClock implements Clock {
  #now = Date.UTC(2026, 0, 1);

  now(): Date {
    return new Date(this.#now);
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

export interface TestGateOptions {
  readonly limits?: Partial<GateLimits>;
  readonly retention?: Partial<RetentionLimits>;
  /** Default: true. */
  readonly acceptUnsignedApprovals?: boolean;
  /** Default: false. */
  readonly keepDeniedContracts?: boolean;
  /** Default: false. */
  readonly requireSignedSubmissions?: boolean;
  /** Default: of v0.1, which name no submitters. */
  readonly bindings?: Bindings;
  /** Default: refuse, as a gate's config has it. */
  readonly dualControl?: DualControl;
  /** The key of its log of receipts. Default: it keeps none. */
  readonly log?: Signer | undefined;
  /** Who cosigns that log. Default: nobody. */
  readonly witnesses?: GateOptions['witnesses'];
  /** Where its metrics go. Default: nowhere. */
  readonly meter?: GateDependencies['meter'];
}

export interface SubmitShort extends Partial<SubmitRequest> {
  /** Default: agent. */
  readonly principal?: string;
}

/** Seconds; of every test gate. */
export const executorLostAfterSec = 300;
export const decisionTtlSec = 24 * 3600;

/** A folder for what waits for its disk at every step, in memory where there is such a place: nothing here is about disks. */
export const inMemory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

let empty: Promise<Buffer> | undefined;

/** What a store is on disk that has nothing in it: made once, as every step of its schema would be taken for each test. */
async function makeEmptyStore(): Promise<Buffer> {
  const directory = mkdtempSync(join(inMemory, 'csc-gate-'));
  const path = join(directory, storeFile);
  await (await openStore(path)).close();
  const bytes = readFileSync(path);
  rmSync(directory, { recursive: true });
  return bytes;
}

/** A gate in a temporary directory, its clock in the test's hand. */
export class TestGate {
  readonly clock = new TestClock();
  readonly signer: Signer = createSigner(generateKeyPair().seed, 'gate-key');
  readonly policies: PolicySet = policies;
  /** What the gate told of errors that no caller waits for. */
  readonly errors: unknown[] = [];
  /** What it told its owner to do something about. */
  readonly warnings: [message: string, details: LogFields][] = [];
  readonly directory = mkdtempSync(join(inMemory, 'csc-gate-'));
  #options: TestGateOptions;
  #gate: Gate | undefined;
  #owners: ReloadableOwners | undefined;
  #published: Partial<OwnersWord> = {};

  private constructor(options: TestGateOptions) {
    this.#options = options;
  }

  static async open(options: TestGateOptions = {}): Promise<TestGate> {
    const test = new TestGate(options);
    empty ??= makeEmptyStore();
    writeFileSync(join(test.directory, storeFile), await empty, { mode: 0o600 });
    await test.#start();
    return test;
  }

  /** Has the owners say something else, which the gate is told of if it is there. */
  async publish(word: Partial<OwnersWord>): Promise<void> {
    this.#published = { version: 2, ...word };
    this.#owners?.replace(this.#word());
    await this.#gate?.ownersChanged();
  }

  #word(): OwnersWord {
    return { policies: this.policies, bindings: this.#options.bindings ?? bindings, ...this.#published };
  }

  get gate(): Gate {
    if (this.#gate === undefined) throw new CscError('INTERNAL', 'the test gate is closed');
    return this.#gate;
  }

  /** Another gate on the same directory, as after a restart, with what is to be otherwise: every executor must connect again. */
  async reopen(changes: TestGateOptions = {}): Promise<void> {
    await this.stop();
    this.#options = { ...this.#options, ...changes };
    await this.#start();
  }

  /** Closes the gate and leaves its directory. */
  async stop(): Promise<void> {
    await this.#gate?.close();
    this.#gate = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  /** An executor that holds all policies; it is not connected yet. */
  executor(name: string, options: Partial<ScriptedExecutorOptions> = {}): ScriptedExecutor {
    const policySha256s = this.policies.all().map((it) => it.sha256);
    return new ScriptedExecutor(() => this.gate, { name, clock: this.clock, policySha256s, ...options });
  }

  async connected(name: string, options: Partial<ScriptedExecutorOptions> = {}): Promise<ScriptedExecutor> {
    const executor = this.executor(name, options);
    await executor.connect();
    return executor;
  }

  /** A client of this process. @param uri its identity */
  as(uri: string): LocalClient {
    return new LocalClient(this.gate, uri);
  }

  submit(
    contract: CommandContract,
    { principal = agent, ...request }: SubmitShort = {},
  ): Promise<SubmitResponse> {
    return this.as(principal).submit(toRequest(contract, request));
  }

  /** Submits what is allowed and asks nobody. Gives its execution. */
  async place(request: SubmitShort = {}): Promise<string> {
    return (await this.submit(makeContract(), request)).executionId;
  }

  async state(executionId: string, principal = agent): Promise<ExecutionState> {
    const { execution } = await this.as(principal).getExecution({ executionId });
    if (execution === undefined) throw new CscError('INTERNAL', 'the response has no execution');
    return execution.state;
  }

  /** The receipt as the gate keeps it, parsed. */
  async receipt(executionId: string, principal = agent): Promise<Record<string, unknown>> {
    const { receiptJson } = await this.as(principal).getReceipt({ executionId });
    return JSON.parse(receiptJson.toString()) as Record<string, unknown>;
  }

  /** The receipt as it lies on disk; undefined where there is none. Only while the gate is stopped. */
  storedReceipt(executionId: string): Buffer | undefined {
    const receipt = this.#stored(
      'SELECT receipt_json AS it FROM receipts WHERE execution_id = ?',
      executionId,
    );
    return receipt instanceof Uint8Array ? Buffer.from(receipt) : undefined;
  }

  /** The time by which it must have been placed, as it lies on disk. Only while the gate is stopped. */
  storedDeadline(executionId: string): unknown {
    return this.#stored('SELECT queue_deadline AS it FROM executions WHERE execution_id = ?', executionId);
  }

  /** The OIDC token that it keeps for a host, as it lies on disk; null where it keeps none. Only while the gate is stopped. */
  storedToken(executionId: string): unknown {
    return this.#stored('SELECT submission_token AS it FROM executions WHERE execution_id = ?', executionId);
  }

  /** Its state as it is on disk; undefined where it is not there. */
  storedState(executionId: string): unknown {
    return this.#stored('SELECT state AS it FROM executions WHERE execution_id = ?', executionId);
  }

  #stored(query: string, executionId: string): unknown {
    const database = new DatabaseSync(join(this.directory, storeFile), { readOnly: true });
    try {
      return database.prepare(query).get(executionId)?.['it'];
    } finally {
      database.close();
    }
  }

  /** The events up to now. */
  async events(executionId: string, principal = agent): Promise<ExecutionEvent[]> {
    const seen: ExecutionEvent[] = [];
    const request = { executionId, fromSequence: 0 };
    for await (const event of this.as(principal).watch(request, AbortSignal.abort())) seen.push(event);
    return seen;
  }

  /** What kinds of events there are up to now. */
  async kinds(executionId: string): Promise<(string | undefined)[]> {
    return (await this.events(executionId)).map(({ event }) => event?.$case);
  }

  /** Resolves once everything that the gate has begun to write is on disk, and the offers of it have left. */
  async flushed(): Promise<void> {
    await this.submit(deniedContract(), { principal: nobody });
  }

  /** Lets the gate look for what has waited too long. Only under faked intervals, from before the gate was made. */
  async sweep(): Promise<void> {
    await vi.advanceTimersByTimeAsync(1000);
    await this.flushed();
  }

  /** Lets pass more time than an executor may be away. As `sweep`. */
  async waitUntilLost(): Promise<void> {
    await this.sweep();
    this.clock.advance(executorLostAfterSec * 1000);
    await this.sweep();
  }

  #logOf(signer: Signer): NonNullable<GateOptions['log']> {
    const vkey = formatVkey({ name: logOrigin, type: 'ed25519', publicKey: signer.publicKey });
    // That of its key, as a gate that reads one has made it.
    mkdirSync(join(this.directory, 'log'), { recursive: true });
    return { signer, origin: logOrigin, vkey, directory: join(this.directory, 'log', 'tree') };
  }

  async #start(): Promise<void> {
    const { limits = {}, acceptUnsignedApprovals = true, keepDeniedContracts = false } = this.#options;
    const { retention = {}, dualControl = 'refuse', requireSignedSubmissions = false } = this.#options;
    const owners = createOwners(this.#word());
    this.#owners = owners;
    const options: GateOptions = {
      gateId: 'test',
      identity: gateIdentity,
      dataDir: this.directory,
      signer: this.signer,
      policies: owners.policies,
      bindings: owners.bindings,
      owners,
      limits: { ...defaultGateLimits(), ...limits },
      retention: { ...defaultRetention(), ...retention },
      acceptUnsignedApprovals,
      keepDeniedContracts,
      requireSignedSubmissions,
      dualControl,
      executorLostAfterSec,
      heartbeatIntervalSec: 10,
      decisionTtlSec,
      ...(this.#options.log === undefined ? {} : { log: this.#logOf(this.#options.log) }),
      ...(this.#options.witnesses === undefined ? {} : { witnesses: this.#options.witnesses }),
    };
    const onError = (error: unknown): void => void this.errors.push(error);
    this.#gate = await createGate(options, {
      clock: this.clock,
      monotonicMs: () => this.clock.now().getTime(),
      onError,
      onWarning: (...warning) => void this.warnings.push(warning),
      meter: this.#options.meter,
    });
  }
}

/** The request of a contract in its JSON form. */
export function toRequest(contract: CommandContract, overrides: Partial<SubmitRequest> = {}): SubmitRequest {
  return {
    contract: { $case: 'contractJson', value: toBytes(contract) },
    idempotencyKey: '',
    selector: {},
    policyProfile: '',
    approvalsJson: [],
    options: undefined,
    submissionJson: Buffer.alloc(0),
    ...overrides,
  };
}

/** A policy of a test gate. */
export function makePolicy(name: string, overrides: object = {}): PolicyDocument {
  const own = {
    name,
    allow_commands: ['echo', 'cat'],
    allowed_effect_types: ['observe'],
    max_timeout_sec: 60,
  };
  const members = policyMembers('/workspace', { ...own, ...overrides });
  return orThrow(parsePolicy(Buffer.from(JSON.stringify(members))), 'POLICY_INVALID', name);
}

const policies = createPolicySet([
  makePolicy('default'),
  makePolicy('wide'),
  makePolicy('held'),
  makePolicy('bound', { policy_schema_version: 'csc.policy.v0.2', binding: 'host' }),
  makePolicy('limited', {
    policy_schema_version: 'csc.policy.v0.2',
    limits: policyLimits,
    queue_timeout_sec: 30,
  }),
]);

const bindings: Bindings = orThrow(
  bindingsFromJson({
    bindings_version: 'csc.bindings.v0.1',
    bindings: [
      { identity: agent, policies: ['default', 'wide', 'limited'] },
      { identity: other, policies: ['default'] },
      { identity: nobody, policies: ['default'] },
    ],
  }),
  'POLICY_INVALID',
  'the bindings of the tests',
);
