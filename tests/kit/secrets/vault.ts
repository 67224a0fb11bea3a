import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** The latest version of a secret of a KV engine. */
interface Version {
  /** Null where it was deleted. */
  readonly data: Readonly<Record<string, unknown>> | null;
  readonly deletionTime?: string;
  readonly destroyed?: boolean;
}

/** Answers one request in Vault's place; `pass` gives Vault's own answer after all. */
export type Trick = (request: IncomingMessage, response: ServerResponse, pass: () => void) => void;

/** A server that answers reads of KV engines as Vault does: `secret` is of version 2, `kv` of version 1. */
export interface TestingVault {
  readonly address: string;
  /** The requests so far, as `METHOD URL`. */
  readonly requests: readonly string[];
  /** The only token that may read. */
  token: string;
  /** Paths that the token may not read. */
  readonly forbidden: Set<string>;
  /** Set by full API path: `secret/data/NAME` or `kv/NAME`. */
  readonly secrets: Map<string, Version>;
  /** Used up, one a request, before Vault's own answers. */
  readonly tricks: Trick[];
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1, with TLS where there is a certificate. */
export async function startVault(tls?: {
  readonly key: string;
  readonly cert: string;
}): Promise<TestingVault> {
  const state = {
    token: 'hvs.the-token',
    forbidden: new Set<string>(),
    secrets: new Map<string, Version>(),
    tricks: [] as Trick[],
    requests: [] as string[],
  };
  const listener: RequestListener = (request, response) => {
    state.requests.push(`${request.method} ${request.url}`);
    const pass = (): void => send(response, ...answer(request, vault));
    const trick = state.tricks.shift();
    if (trick === undefined) pass();
    else trick(request, response, pass);
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => {
      server.close(resolve);
    });
  };
  const scheme = tls === undefined ? 'http' : 'https';
  const vault: TestingVault = Object.assign(state, { address: `${scheme}://127.0.0.1:${port}`, close });
  return vault;
}

function answer(request: IncomingMessage, vault: TestingVault): [status: number, body: object] {
  const path = (request.url ?? '').replace(/^\/v1\//, '');
  const { headers } = request;
  // Vault's own guard against requests forged through proxies.
  if (headers['x-vault-request'] !== 'true') return [412, errors('missing header')];
  if (headers['x-vault-token'] !== vault.token || vault.forbidden.has(path)) {
    return [403, errors('1 error occurred:\n\t* permission denied\n\n')];
  }
  const version = vault.secrets.get(path);
  if (version === undefined) return [404, errors()];
  if (path.startsWith('kv/')) return [200, envelope(version.data)];
  const { data, deletionTime = '', destroyed = false } = version;
  const metadata = {
    created_time: '2026-01-02T03:04:05.678901234Z',
    custom_metadata: null,
    deletion_time: deletionTime,
    destroyed,
    version: 3,
  };
  return [data === null ? 404 : 200, envelope({ data, metadata })];
}

function errors(...messages: readonly string[]): object {
  return { errors: messages };
}

function envelope(data: unknown): object {
  return {
    request_id: '0f1f2f3f-0000-4000-8000-000000000000',
    lease_id: '',
    renewable: false,
    lease_duration: 2764800,
    data,
    wrap_info: null,
    warnings: null,
    auth: null,
  };
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}
