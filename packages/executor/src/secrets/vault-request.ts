import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import * as z from 'zod';
import { maxSecretBytes, ownBuffer, unavailable, unreachable } from './provider.ts';

/** A GET of a Vault server. */
interface VaultRequest {
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
    // An answer 101 is neither a response nor an error.
    sent.once('close', () => reject(new Error('it hung up without an answer')));
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

/** What was asked for. */
interface VaultQuestion {
  /** As people know it: the secret's name and its path in Vault. */
  readonly subject: string;
  /** Of the KV secrets engine. */
  readonly version: 1 | 2;
  readonly field: string;
}

// https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
const fields = z.record(z.string(), z.unknown());
const metadata = z.object({ deletion_time: z.string().default(''), destroyed: z.boolean().default(false) });
const answerV2 = z.object({ data: z.object({ data: fields.nullable(), metadata: metadata.optional() }) });
const answerV1 = z.object({ data: fields });

/** The secret in a reply. Throws SANDBOX_UNAVAILABLE; nothing of the reply is in the error, which may hold a value. */
export function readVaultAnswer(reply: VaultReply, question: VaultQuestion): Buffer {
  const { status, body } = reply;
  if (status === 404) throw unavailable(explainMissing(body, question));
  if (status !== 200)
    throw (status >= 500 ? unreachable : unavailable)(explainStatus(status, question.subject));
  return toValue(toFields(body, question), question);
}

function toFields(body: Buffer, { version, subject }: VaultQuestion): Record<string, unknown> {
  const json = toJson(body);
  if (version === 1) {
    const answer = answerV1.safeParse(json);
    if (answer.success) return answer.data.data;
    throw unavailable(`Vault's answer about ${subject} is not one of KV version 1`);
  }
  const answer = answerV2.safeParse(json);
  if (!answer.success) {
    throw unavailable(
      `Vault's answer about ${subject} is not one of KV version 2: is the mount of version 1?`,
    );
  }
  if (answer.data.data.data === null) throw unavailable(explainMissing(body, { version, subject }));
  return answer.data.data.data;
}

// A syntax error of JSON.parse quotes the text around it, so it goes nowhere.
function toJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

function toValue(values: Record<string, unknown>, { subject, field }: VaultQuestion): Buffer {
  const value = Object.hasOwn(values, field) ? values[field] : undefined;
  if (value === undefined) throw unavailable(`${subject} has no field "${field}"`);
  // A lone surrogate has no UTF-8.
  if (typeof value !== 'string' || !value.isWellFormed()) {
    throw unavailable(`the field "${field}" of ${subject} is not a text`);
  }
  if (Buffer.byteLength(value) > maxSecretBytes) {
    throw unavailable(`the field "${field}" of ${subject} is longer than ${maxSecretBytes} bytes`);
  }
  return ownBuffer(value);
}

// A version that was deleted is a 404 with its metadata; what never was is a 404 with no errors in it.
function explainMissing(
  body: Buffer,
  { version, subject }: Pick<VaultQuestion, 'version' | 'subject'>,
): string {
  const answer = version === 2 ? answerV2.safeParse(toJson(body)) : undefined;
  const about = answer?.success === true ? answer.data.data.metadata : undefined;
  if (about?.destroyed === true) return `the latest version of ${subject} was destroyed in Vault`;
  if (about !== undefined && about.deletion_time !== '')
    return `the latest version of ${subject} was deleted in Vault`;
  return `Vault does not have ${subject}`;
}

function explainStatus(status: number, subject: string): string {
  if (status === 403) {
    return `Vault's token may not read ${subject}, or is no longer valid: check its policy and the token file`;
  }
  if (status === 503) return `Vault is sealed or under maintenance, so ${subject} cannot be read: unseal it`;
  if (status >= 300 && status < 400) {
    return `Vault answered with a redirect (${status}), which is not followed: set the address to where it leads`;
  }
  if (status === 429) return `Vault takes no more requests for now (429), so ${subject} cannot be read`;
  if (status >= 500) return `Vault failed (${status}) to read ${subject}: its log says more`;
  return `Vault refused (${status}) to read ${subject}: check the address, the mount and the KV version`;
}
