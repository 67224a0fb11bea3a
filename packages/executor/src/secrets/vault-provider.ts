import { setTimeout as sleep } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import {
  checkNotCancelled,
  checkSecretName,
  type SecretProvider,
  unavailable,
  unreachable,
} from './provider.ts';
import { ReplyTooLongError, readVaultAnswer, sendVaultRequest, type VaultReply } from './vault-request.ts';

/** A KV secrets engine of a server that speaks HashiCorp Vault's HTTP API. */
export interface VaultOptions {
  /** The server's origin: `https://vault.example.org:8200`. */
  readonly address: string;
  /** Path of the file with the token. */
  readonly tokenFile: string;
  /** Where the engine is mounted. Default: `secret`. */
  readonly mount?: string;
  /** The path below which the secrets are, without slashes at its ends. Default: none. */
  readonly prefix?: string;
  /** Which field of a secret is its value. Default: `value`. */
  readonly field?: string;
  /** Of the KV engine. Default: 2. */
  readonly version?: 1 | 2;
  /** Path of PEM certificates to trust instead of the system's. */
  readonly ca?: string;
  /** Milliseconds that one request may take, its whole answer included. Default: 5000. */
  readonly timeoutMs?: number;
  /** Milliseconds before the one retry. Default: 200. */
  readonly retryDelayMs?: number;
}

type Settings = Required<Omit<VaultOptions, 'ca'>> & Pick<VaultOptions, 'ca'>;

const defaults = {
  mount: 'secret',
  prefix: '',
  field: 'value',
  version: 2,
  timeoutMs: 5000,
  retryDelayMs: 200,
} as const;

const maxReplyBytes = 1024 * 1024;
const maxCaBytes = 1024 * 1024;

/**
 * Secrets of a Vault server, each one a secret of its KV engine. Token and CA files are read each time, as they rotate.
 * Reads throw as SecretProvider says.
 */
export function createVaultProvider(options: VaultOptions): SecretProvider {
  const settings: Settings = { ...defaults, ...options };
  return {
    places: { 'secrets.vault.token_file': settings.tokenFile },
    check: () => {
      readTokenFile(settings.tokenFile);
      if (settings.ca !== undefined) readCa(settings.ca);
    },
    probe: async (signal) => {
      const { status, body } = await ask(settings, 'the token', 'auth/token/lookup-self', signal);
      body.fill(0);
      if (status === 403)
        throw unavailable(`Vault at ${settings.address} does not accept the token of ${settings.tokenFile}`);
    },
    async read(name, { signal } = {}) {
      checkSecretName(name);
      checkNotCancelled(name, signal);
      const path = toPath(settings, name);
      const reply = await ask(settings, name, path, signal);
      const subject = `the secret ${name} (${path})`;
      try {
        return readVaultAnswer(reply, { ...settings, subject });
      } finally {
        reply.body.fill(0);
      }
    },
  };
}

function toPath({ mount, prefix, version }: Settings, name: string): string {
  const parts = [mount, ...(version === 2 ? ['data'] : []), ...(prefix === '' ? [] : [prefix]), name];
  return parts.flatMap((part) => part.split('/').map(encodeURIComponent)).join('/');
}

/** One request, and one more where another attempt may well succeed. */
async function ask(
  settings: Settings,
  name: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<VaultReply> {
  try {
    const reply = await send(settings, path, signal).catch(toRetry);
    if (reply !== 'retry' && !isTransient(reply.status)) return reply;
    await sleep(settings.retryDelayMs, undefined, signal === undefined ? {} : { signal });
    return await send(settings, path, signal);
  } catch (error) {
    checkNotCancelled(name, signal);
    throw error instanceof CscError ? error : unreachable(explainFailure(error, settings), error);
  }
}

async function send(settings: Settings, path: string, signal: AbortSignal | undefined): Promise<VaultReply> {
  const { address, tokenFile, ca, timeoutMs } = settings;
  const timeout = AbortSignal.timeout(timeoutMs);
  const request = {
    url: new URL(`/v1/${path}`, address),
    token: readTokenFile(tokenFile),
    ...(ca === undefined ? {} : { ca: readCa(ca) }),
    maxBytes: maxReplyBytes,
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  };
  try {
    return await sendVaultRequest(request);
  } catch (error) {
    // Half-way through an answer it looks like a connection that was reset.
    if (!timeout.aborted) throw error;
    throw unreachable(`Vault at ${address} did not answer within ${timeoutMs / 1000} s`);
  }
}

function readCa(path: string): Buffer {
  try {
    return readBoundedFile(path, { maxBytes: maxCaBytes }).bytes;
  } catch (error) {
    if (error instanceof CscError) throw unavailable(`Vault's CA: ${error.message}`, error);
    throw error;
  }
}

// 412: this node does not know yet what the token's owner has seen on another. 429: too many requests.
function isTransient(status: number): boolean {
  return status >= 500 || status === 429 || status === 412;
}

function toRetry(error: unknown): 'retry' {
  const code = codeOf(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'retry';
  throw error;
}

function explainFailure(error: unknown, { address }: Settings): string {
  if (error instanceof ReplyTooLongError)
    return `Vault at ${address} answers with more than ${maxReplyBytes} bytes`;
  const code = codeOf(error) ?? 'the connection broke off';
  return `Vault at ${address} cannot be reached: ${code}${remedyFor(code)}`;
}

function remedyFor(code: string): string {
  if (code.includes('ALTNAME')) return ': its certificate is for another name than the address has';
  return /CERT|SIGNATURE/.test(code) ? ': set ca to the certificates that it is to be trusted by' : '';
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

const maxTokenBytes = 4096;
// Tokens of all kinds (hvs., s., JWTs), and nothing that could end a header.
const tokenForm = /^[\x21-\x7e]+$/;

/**
 * The token in a file, which an agent may replace at any time: read anew each time, never kept. Its group may read it, as
 * Vault's agent leaves it by default (0640), the rest of the world may not. Throws SANDBOX_UNAVAILABLE.
 */
function readTokenFile(path: string): string {
  const { bytes, permissions } = readToken(path);
  if ((permissions & 0o027) !== 0) {
    throw unavailable(`the token file ${path} may be read or written by others: run chmod 600 ${path}`);
  }
  const token = bytes.toString('latin1').trim();
  if (!tokenForm.test(token))
    throw unavailable(`${path} does not hold a token: it takes one line of printable ASCII`);
  return token;
}

function readToken(path: string): ReturnType<typeof readBoundedFile> {
  try {
    return readBoundedFile(path, { maxBytes: maxTokenBytes });
  } catch (error) {
    if (error instanceof CscError) throw unavailable(`the token file: ${error.message}`, error);
    throw error;
  }
}
