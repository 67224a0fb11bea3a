import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { joinPurpose, renewPurpose } from '@csc-fleet/common/ca';
import { CscError } from '@csc-fleet/common/errors';
import { createRequest, fingerprintOf, generateTlsKey } from '@csc-fleet/common/pki';
import { silentLog } from '@csc-fleet/common/service';
import { openAuditLog } from '../../../packages/cli/src/ca/audit.ts';
import {
  type AuthorityPorts,
  type IssuedPair,
  join as joinAuthority,
  renew,
} from '../../../packages/cli/src/ca/authority.ts';
import { type CaConfig, readCaConfig } from '../../../packages/cli/src/ca/config.ts';
import { makeCaFolder, readCaKeys } from '../../../packages/cli/src/ca/folder.ts';
import { makeToken } from '../../../packages/cli/src/ca/manage.ts';
import { type CaServer, startCa } from '../../../packages/cli/src/ca/server.ts';
import { CaStore } from '../../../packages/cli/src/ca/store.ts';

/** The keys of a member to be; a client has none for receipts. */
interface MemberKeys {
  readonly tls: KeyObject;
  readonly receipts?: KeyObject;
}

/** The CA of fleet.example, over the wire and without it, by a clock that a test may set. */
export class TestCa {
  /** All of it, and what tests make of it. */
  readonly root = mkdtempSync(join(tmpdir(), 'csc-ca-'));
  readonly dir = join(this.root, 'ca');
  now = new Date();
  readonly clock = { now: () => this.now };
  readonly #pairs: IssuedPair[] = [];
  #names = 0;
  #open: { readonly config: CaConfig; readonly server: CaServer; readonly ports: AuthorityPorts } | undefined;

  async open(): Promise<void> {
    const plan = { trustDomain: 'fleet.example', hosts: ['localhost'], permit: [], lifeSec: 3600 };
    await makeCaFolder(this.dir, { ...plan, listen: '127.0.0.1:0' }, new Date());
    const config = readCaConfig(join(this.dir, 'ca.yaml'));
    const { clock } = this;
    // All of a test call from one address, which has rested before each call.
    let restedMs = 0;
    const monotonicMs = () => (restedMs += 1000);
    const server = await startCa(config, silentLog, { clock, monotonicMs });
    const { trustDomain, lifeMs, stateDir } = config;
    const [store, audit] = [new CaStore(stateDir), openAuditLog(stateDir, clock.now)];
    const ports = { keys: readCaKeys(config), trustDomain, lifeMs, store, audit, clock };
    this.#open = { config, server, ports };
  }

  async close(): Promise<void> {
    const { server, ports } = this.#opened;
    await server.close();
    ports.store.close();
    ports.audit.close();
    rmSync(this.root, { recursive: true });
  }

  get config(): CaConfig {
    return this.#opened.config;
  }

  get address(): string {
    return `localhost:${this.#opened.server.port}`;
  }

  get ports(): AuthorityPorts {
    return this.#opened.ports;
  }

  /** What a host that joins expects to become. */
  get asHost() {
    return { role: 'executor', identity: '', at: this.now } as const;
  }

  /** A name that nobody has. */
  fresh(): string {
    return `host-${this.#names++}`;
  }

  tokenFor(name: string, wish: Partial<Parameters<typeof makeToken>[1]> = {}): Promise<string> {
    const plain = {
      role: 'executor',
      labels: { os: 'linux' },
      hosts: [],
      ttlMs: 600_000,
      again: false,
    } as const;
    return makeToken(this.config, { ...plain, name, ...wish }, this.now);
  }

  /** What the CA decides, without the wire. */
  async ask(token: string, keys: MemberKeys, purpose = joinPurpose(token)): Promise<IssuedPair> {
    return this.askWith(token, await requestsOf(keys, purpose));
  }

  /** The same with certificate requests that are made already. */
  async askWith(token: string, requests: Requests): Promise<IssuedPair> {
    const encode = (issued: IssuedPair): Uint8Array => Buffer.from(String(this.#pairs.push(issued) - 1));
    const answer = await joinAuthority(this.ports, { token, ...requests }, 'test', encode);
    return this.#pairs[Number(Buffer.from(answer).toString())] as IssuedPair;
  }

  async askRenewal(certificate: string, keys: MemberKeys) {
    const { raw } = new X509Certificate(certificate);
    return renew(this.ports, await requestsOf(keys, renewPurpose(fingerprintOf(raw))), raw, 'test');
  }

  get #opened() {
    if (this.#open === undefined) throw new Error('the CA is yet to be opened');
    return this.#open;
  }
}

interface Requests {
  readonly tlsRequest: Buffer;
  readonly receiptRequest: Buffer;
}

async function requestsOf({ tls, receipts }: MemberKeys, purpose: string): Promise<Requests> {
  return {
    tlsRequest: await createRequest(tls, purpose),
    receiptRequest: receipts === undefined ? Buffer.alloc(0) : await createRequest(receipts, purpose),
  };
}

export function ed25519(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}

/** Keys of a host. */
export function keyPair() {
  return { tls: generateTlsKey(), receipts: ed25519() };
}

/** The code that it fails with, or `none`. */
export async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'none';
  } catch (error) {
    return error instanceof CscError ? error.code : String(error);
  }
}
