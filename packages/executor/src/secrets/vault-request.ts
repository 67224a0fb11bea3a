import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';

/** A GET of a Vault server. */
export interface VaultRequest {
  readonly url: URL;
  readonly token: string;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: Buffer;
  readonly maxBytes: number;
  /** Ends the request at once, also half-way through the answer. */
  readonly signal: AbortSignal;
}

/** What came back: any status, redirects included, which are never followed, for they would take the token along. */
export interface VaultReply {
  readonly status: number;
  readonly body: Buffer;
}

/** The answer is longer than allowed. */
export class ReplyTooLongError extends Error {}

/**
 * Sends a request on a connection of its own. Rejects with what the system says (the error has a `code`), the signal's
 * reason, or ReplyTooLongError.
 */
export async function sendVaultRequest(options: VaultRequest): Promise<VaultReply> {
  const reply = await open(options);
  try {
    return { status: reply.statusCode ?? 0, body: await readBody(reply, options.maxBytes) };
  } finally {
    reply.destroy();
  }
}

function open({ url, token, ca, signal }: VaultRequest): Promise<IncomingMessage> {
  const headers = { 'x-vault-token': token, 'x-vault-request': 'true', accept: 'application/json' };
  // Without an agent of the process no proxy of its environment comes between; certificates are judged whatever
  // NODE_TLS_REJECT_UNAUTHORIZED says.
  const common = { headers, signal, agent: false } as const;
  const tls = { rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) };
  return new Promise((resolve, reject) => {
    const sent =
      url.protocol === 'https:'
        ? requestHttps(url, { ...common, ...tls }, resolve)
        : requestHttp(url, common, resolve);
    sent.on('error', reject);
    sent.end();
  });
}

async function readBody(reply: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of reply) {
    length += chunk.length;
    if (length > maxBytes) throw new ReplyTooLongError();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
