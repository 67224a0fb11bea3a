import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type GateClient } from '@csc-fleet/client';
import type { CommandContract } from '@csc-fleet/common/contract';
import { type CommandShort, makeContract } from './contract.ts';
import { freePort } from './free-port.ts';
import { testPolicy } from './policy.ts';
import { csc, cscBin, type Finished, type RunOptions, Service } from './process.ts';

export interface ExecutorOptions {
  readonly name: string;
  readonly labels?: Record<string, string>;
  /** Members of the config file that differ. */
  readonly config?: Record<string, unknown>;
  /** What Node runs instead of `csc executor --config FILE`, with its arguments before FILE. */
  readonly program?: { readonly path: string; readonly args: readonly string[] };
}

export interface FleetOptions {
  readonly executors?: readonly ExecutorOptions[];
  /** Client identities beside `alice`. */
  readonly clients?: readonly string[];
  /** Members of the gate's config file that differ. */
  readonly gate?: Record<string, unknown>;
  /** Whether its clients are admins, too. */
  readonly admins?: boolean;
  /** Default: all clients may what the policy `tests` allows. */
  readonly bindings?: object;
  /** Members of the policy that differ. */
  readonly policy?: Record<string, unknown>;
  /**
   * Called before anything starts, with the scratch directory, from which configs name their files; more policies go
   * below `policies`.
   */
  readonly prepare?: (directory: string) => void | Promise<void>;
}

// One that is profiled (bench/profile) has to end by itself, as it writes its profile then.
const ending = process.env['NODE_OPTIONS']?.includes('--cpu-prof') ? 'SIGTERM' : 'SIGKILL';

/** The account that jobs run as where the tests are root. */
export const jobUid = 65534;

/** A directory, and below it a workspace that jobs may be shown. */
export class Workplace {
  readonly directory: string;
  readonly workspace: string;

  constructor(directory: string) {
    this.directory = directory;
    this.workspace = join(directory, 'workspace');
    // mkdtemp makes it 0700, and the job user has to get through.
    chmodSync(directory, 0o755);
    mkdirSync(this.workspace);
    if (process.getuid?.() === 0) chownSync(this.workspace, jobUid, jobUid);
  }

  contract(short: CommandShort, overrides: Partial<CommandContract> = {}): CommandContract {
    return makeContract(this.workspace, [short], overrides);
  }

  /** Writes a file below the directory; gives its path. */
  write(name: string, text: string | Buffer): string {
    const path = join(this.directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** A directory below the workspace that jobs may write. */
  writable(name: string): string {
    const path = join(this.workspace, name);
    mkdirSync(path, { recursive: true });
    if (process.getuid?.() === 0) chownSync(path, jobUid, jobUid);
    return path;
  }
}

/** A real gate and real executors, each a process of its own, in a scratch directory, over mutual TLS on loopback. */
export class Fleet extends Workplace implements AsyncDisposable {
  readonly pki: string;
  readonly address: string;
  readonly #options: FleetOptions;
  readonly #executors = new Map<string, Service>();
  readonly #clients = new Map<string, GateClient>();
  #gate: Service | undefined;

  constructor(options: FleetOptions, port: number) {
    super(mkdtempSync(join(tmpdir(), 'csc-fleet-')));
    this.#options = options;
    this.pki = join(this.directory, 'pki');
    this.address = `127.0.0.1:${port}`;
  }

  /** What all of it lies below. */
  get top(): string {
    return this.directory;
  }

  /** The processes of it that run. */
  get pids(): number[] {
    const services = [this.#gate, ...this.#executors.values()];
    return services.flatMap((it) => (it?.running ? (it.child.pid ?? []) : []));
  }

  get gate(): Service {
    if (this.#gate === undefined) throw new Error('the gate is not running');
    return this.#gate;
  }

  executor(name: string): Service {
    const service = this.#executors.get(name);
    if (service === undefined) throw new Error(`there is no executor ${name}`);
    return service;
  }

  async prepare(): Promise<void> {
    const { executors = [], clients = [] } = this.#options;
    const names = (flag: string, list: readonly string[]) => list.flatMap((name) => [flag, name]);
    const made = await csc([
      ...['pki', 'init', this.pki],
      ...names('--client', ['alice', ...clients]),
      ...names(
        '--executor',
        executors.map((it) => it.name),
      ),
    ]);
    if (made.code !== 0) throw new Error(`csc pki init failed:\n${made.stderr}`);
    mkdirSync(join(this.directory, 'policies'));
    await this.#options.prepare?.(this.directory);
    this.write('policies/tests.yaml', testPolicy(this.workspace, this.#options.policy));
    this.write(
      'bindings.yaml',
      JSON.stringify(this.#options.bindings ?? (this.#options.admins ? adminBindings : bindings)),
    );
    this.write('gate.yaml', JSON.stringify(this.#gateConfig()));
  }

  /** Starts the gate, or starts it again on the same address; resolves once it listens. */
  async startGate(
    program: ExecutorOptions['program'] = { path: cscBin, args: ['gate', '--config'] },
  ): Promise<void> {
    const { path, args } = program;
    this.#gate = new Service('the gate', [...args, join(this.directory, 'gate.yaml')], path);
    await this.#gate.waitFor(/listening/i);
  }

  /** Starts an executor, or starts it again with the same state; resolves once the gate knows it. */
  async startExecutor(options: ExecutorOptions): Promise<void> {
    const file = this.writeExecutorConfig(options);
    const { path, args } = options.program ?? { path: cscBin, args: ['executor', '--config'] };
    const service = new Service(`executor ${options.name}`, [...args, file], path);
    this.#executors.set(options.name, service);
    await service.waitFor(/"msg":"connected/i);
  }

  /** Writes an executor's config file; gives its path. */
  writeExecutorConfig(options: ExecutorOptions): string {
    return this.write(`executor-${options.name}.yaml`, JSON.stringify(this.#executorConfig(options)));
  }

  /** A client of this identity; the same for the same name. */
  connect(name = 'alice'): GateClient {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const client = connect({ address: this.address, tls: this.tls(name) });
    this.#clients.set(name, client);
    return client;
  }

  /**
   * Resolves once a command of alice's has written something, or all is over: before that, there may be nothing yet but a
   * sandbox that is held, and what is cancelled then has never begun and is BLOCKED by its host.
   */
  async hasSpoken(executionId: string): Promise<void> {
    const spoken = Promise.withResolvers<void>();
    const over = this.connect().follow(executionId, { handlers: { onStdout: () => spoken.resolve() } });
    over.then(() => spoken.resolve(), spoken.reject);
    await spoken.promise;
  }

  tls(name: string): { ca: string; cert: string; key: string } {
    const file = (it: string) => join(this.pki, it);
    return { ca: file('ca.pem'), cert: file(`client-${name}.pem`), key: file(`client-${name}.key`) };
  }

  /** Runs `csc` with the options that reach this gate as `name`. */
  csc(args: readonly string[], options: RunOptions & { as?: string } = {}): Promise<Finished> {
    return csc(args, { ...options, env: { ...this.environment(options.as), ...options.env } });
  }

  /** The variables that lead a `csc` to this gate; what it remembers of executors goes with the fleet, not into a home. */
  environment(name = 'alice'): NodeJS.ProcessEnv {
    const { ca, cert, key } = this.tls(name);
    const home = {
      XDG_STATE_HOME: join(this.directory, 'state'),
      XDG_CONFIG_HOME: join(this.directory, 'config'),
    };
    return { CSC_GATE: this.address, CSC_CA: ca, CSC_CERT: cert, CSC_KEY: key, ...home };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    await Promise.all([...this.#executors.values()].map((it) => it.stop(ending)));
    await this.#gate?.stop(ending);
    if (existsSync(this.directory)) rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  #gateConfig(): Record<string, unknown> {
    return {
      listen: this.address,
      data_dir: join(this.directory, 'gate'),
      tls: {
        ca: join(this.pki, 'ca.pem'),
        cert: join(this.pki, 'gate.pem'),
        key: join(this.pki, 'gate.key'),
      },
      policies: join(this.directory, 'policies'),
      bindings: join(this.directory, 'bindings.yaml'),
      accept_unsigned_approvals: true,
      limits: { requests_per_sec: 100_000, burst: 100_000, concurrent_calls: 1000 },
      ...this.#options.gate,
    };
  }

  #executorConfig(options: ExecutorOptions): Record<string, unknown> {
    const file = (it: string) => join(this.pki, it);
    return {
      gate: { address: this.address },
      tls: {
        ca: file('ca.pem'),
        cert: file(`executor-${options.name}.pem`),
        key: file(`executor-${options.name}.key`),
      },
      trusted_gate_keys: join(this.directory, 'gate', 'gate-keys.json'),
      policies: join(this.directory, 'policies'),
      state_dir: join(this.directory, `executor-${options.name}`),
      labels: options.labels ?? {},
      slots: 4,
      accept_unsigned_approvals: true,
      // Tests say what they mean in shell; that hosts refuse it by default has tests of its own.
      ceiling: { inline_code: true },
      ...(process.getuid?.() === 0 ? { run_as: { uid: jobUid, gid: jobUid } } : {}),
      ...options.config,
    };
  }
}

/**
 * What one test file has of a fleet that others have, too: a directory, and an identity which only its own policy is bound
 * to, that opens nothing else. It takes no part in how services start and end.
 */
export class Guest extends Workplace implements AsyncDisposable {
  readonly name: string;
  readonly #fleet: Fleet;

  constructor(fleet: Fleet, name: string) {
    const directory = join(fleet.directory, name);
    mkdirSync(directory);
    super(directory);
    this.#fleet = fleet;
    this.name = name;
  }

  get top(): string {
    return this.#fleet.directory;
  }

  connect(): GateClient {
    return this.#fleet.connect(this.name);
  }

  csc(args: readonly string[]): Promise<Finished> {
    return this.#fleet.csc(args, { as: this.name });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

const own = { identity: 'spiffe://csc.local/client/*', policies: ['tests'] };
const bindings = { bindings_version: 'csc.bindings.v0.1', bindings: [own] };
const adminBindings = { bindings_version: 'csc.bindings.v0.2', bindings: [{ ...own, roles: ['admin'] }] };

/** A fleet with its gate and executors up. */
export async function startFleet(options: FleetOptions = {}): Promise<Fleet> {
  const fleet = new Fleet(options, await freePort());
  try {
    await fleet.prepare();
    await fleet.startGate();
    await Promise.all((options.executors ?? []).map((it) => fleet.startExecutor(it)));
    return fleet;
  } catch (error) {
    await fleet[Symbol.asyncDispose]();
    throw error;
  }
}
