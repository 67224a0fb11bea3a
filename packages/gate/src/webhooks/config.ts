import { pathIn } from '@csc-fleet/common/config';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import * as z from 'zod';

/** What a receiver may be told of. */
export const webhookEvents = ['wanted', 'given', 'rejected', 'break_glass'] as const;

export type WebhookEvent = (typeof webhookEvents)[number];

/** One receiver, as gate.yaml names it. */
export interface WebhookEntry {
  readonly url: string;
  /** Of the secret that signs. */
  readonly secretFile: string;
  readonly events: readonly WebhookEvent[];
  /** What people are led to, with `{execution_id}` in it. Absent: nothing. */
  readonly link?: string | undefined;
}

/** The same with its secret. */
export interface WebhookConfig extends Omit<WebhookEntry, 'secretFile'> {
  /** `whsec_` and base64. */
  readonly secret: string;
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** The schema of `webhooks` in gate.yaml. */
export function webhooksSchema(file: string) {
  return z
    .array(
      z
        .strictObject({
          url: z.string().max(2000).superRefine(refineUrl),
          secret_file: pathIn(file),
          events: z
            .array(z.enum(webhookEvents))
            .min(1)
            .default([...webhookEvents]),
          link: z
            .string()
            .max(2000)
            .refine((it) => URL.canParse(it) && /^https?:/.test(it), 'must be an http or https URL')
            .refine(
              (it) => !/[{}]/.test(it.replaceAll('{execution_id}', '')),
              'has a placeholder that is never replaced: {execution_id} is the only one',
            )
            .exactOptional(),
        })
        .transform(({ secret_file: secretFile, ...rest }): WebhookEntry => ({ ...rest, secretFile })),
    )
    .max(16);
}

// What is told goes to where the gate's owner says, and can be read by nobody on the way.
function refineUrl(text: string, context: z.core.$RefinementCtx): void {
  const fault = (message: string): void => context.addIssue({ code: 'custom', message });
  if (!URL.canParse(text)) {
    fault('must be an https URL');
    return;
  }
  const { protocol, hostname, username, password } = new URL(text);
  if (protocol !== 'https:' && !(protocol === 'http:' && loopback.test(hostname)))
    fault('must be an https URL; http only to this host itself');
  if (username !== '' || password !== '') fault('must not hold a user or a password');
}

const maxSecretBytes = 1024;

/** Reads their secrets. Throws FILE_UNREADABLE, and CONFIG_INVALID where one is none, or may be read by others. */
export function readWebhooks(entries: readonly WebhookEntry[]): WebhookConfig[] {
  return entries.map(({ secretFile, ...rest }) => ({ ...rest, secret: readSecret(secretFile) }));
}

function readSecret(file: string): string {
  const { bytes, permissions } = readBoundedFile(file, { maxBytes: maxSecretBytes });
  if ((permissions & 0o077) !== 0) {
    const message = `${file} may be read by others than its owner: run chmod 600 ${file}`;
    throw new CscError('CONFIG_INVALID', message);
  }
  const secret = Buffer.from(bytes).toString('latin1').trim();
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1] ?? '';
  const length = Buffer.from(base64, 'base64').length;
  if (length >= 24 && length <= 64) return secret;
  const message = `${file} holds no webhook secret: whsec_ and base64 of 24 to 64 random bytes (echo whsec_$(openssl rand -base64 32))`;
  throw new CscError('CONFIG_INVALID', message);
}
