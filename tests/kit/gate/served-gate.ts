import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDevelopmentPki } from '@csc-fleet/common/pki';
import {
  channelOptions,
  ExecutorLinkClient,
  GateClient,
  readChannelCredentials,
  type TlsPaths,
} from '@csc-fleet/common/rpc';
import type { Tracing } from '@csc-fleet/common/tracing';
import type { Client, Deadline } from '@grpc/grpc-js';
import type { Gate } from '../../../packages/gate/src/service/compose.ts';
import { defaultGateLimits, type GateLimits } from '../../../packages/gate/src/service/config.ts';
import { type GateServer, startServer } from '../../../packages/gate/src/service/server.ts';

// What csc pki issues is good for so long.
const leafDays = 825;

/**
 * Certificates of one CA: a gate, the clients `agent` and `other`, the executors `host` and `second`; and the client and
 * the executor `foreign` of another trust domain.
 */
export class TestPki {
  readonly #directory = mkdtempSync(join(tmpdir(), 'csc-gate-pki-'));

  static async make(): Promise<TestPki> {
    const pki = new TestPki();
    await createDevelopmentPki(pki.#directory, {
      clients: ['agent', 'other'],
      executors: ['host', 'second'],
    });
    await createDevelopmentPki(pki.#directory, {
      trustDomain: 'other.example',
      clients: ['foreign'],
      executors: ['foreign'],
    });
    return pki;
  }

  /** The client and the executor `brief`, with certificates that end so soon. */
  async issueBrief(inMs: number): Promise<void> {
    const at = new Date(Date.now() - leafDays * 24 * 3600 * 1000 + inMs);
    const pki = { clients: ['brief'], executors: ['brief'], clock: { now: () => at } };
    await createDevelopmentPki(this.#directory, pki);
  }

  files(name: string): TlsPaths {
    const file = (it: string): string => join(this.#directory, it);
    return { ca: file('ca.pem'), cert: file(`${name}.pem`), key: file(`${name}.key`) };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true });
  }
}

/** A gate behind real gRPC with mutual TLS, on a free port of this host, and clients for it. */
export class ServedGate {
  /** Errors of which callers saw only an id, by that id. */
  readonly logged: ReadonlyMap<string, unknown>;
  readonly server: GateServer;
  readonly #pki: TestPki;
  readonly #clients: Client[] = [];

  private constructor(pki: TestPki, server: GateServer, logged: ReadonlyMap<string, unknown>) {
    this.#pki = pki;
    this.server = server;
    this.logged = logged;
  }

  static async start(
    gate: Gate,
    pki: TestPki,
    limits: Partial<GateLimits> = {},
    tracing?: Tracing,
    acceptTokens = false,
  ): Promise<ServedGate> {
    const logged = new Map<string, unknown>();
    const server = await startServer(gate, {
      listen: '127.0.0.1:0',
      tls: pki.files('gate'),
      limits: { ...defaultGateLimits(), ...limits },
      heartbeatIntervalSec: 10,
      log: (id, error) => logged.set(id, error),
      tracing,
      acceptTokens,
    });
    return new ServedGate(pki, server, logged);
  }

  get address(): string {
    return `127.0.0.1:${this.server.port}`;
  }

  /** @param certificate as in `client-agent` */
  client(certificate: string): GateClient {
    return this.open(GateClient, certificate);
  }

  link(certificate: string): ExecutorLinkClient {
    return this.open(ExecutorLinkClient, certificate);
  }

  open<C extends Client>(
    Class: new (
      address: string,
      credentials: ReturnType<typeof readChannelCredentials>,
      options: object,
    ) => C,
    certificate: string,
  ): C {
    const options = { ...channelOptions, 'grpc.use_local_subchannel_pool': 1 };
    const client = new Class(this.address, readChannelCredentials(this.#pki.files(certificate)), options);
    this.#clients.push(client);
    return client;
  }

  /** Ends clients and server. */
  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.server.stop(0);
  }
}

/** Long past what a call may take here: a call that hangs fails instead. */
export function soon(): { deadline: Deadline } {
  return { deadline: Date.now() + 20_000 };
}
