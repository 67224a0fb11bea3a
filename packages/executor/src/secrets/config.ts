import * as z from 'zod';
import { createDirectoryProvider } from './directory-provider.ts';
import type { SecretProvider } from './provider.ts';
import { createVaultProvider } from './vault-provider.ts';

const path = z.string().min(1);

// Segments of what secret names are made of: nothing that a URL would read in another way.
const segments = /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/;
const vaultPath = z
  .string()
  .regex(segments, 'must be names with "/" between them, of letters, digits, "_", "-" and "."');

const vault = z
  .strictObject({
    address: z.string().refine(isOrigin, {
      error: 'must be https://HOST or https://HOST:PORT, without user, path or query',
    }),
    token_file: path,
    mount: vaultPath.default('secret'),
    prefix: z.literal('').or(vaultPath).default(''),
    field: z.string().min(1).default('value'),
    version: z.literal([1, 2]).default(2),
    ca: path.optional(),
    allow_plaintext: z.boolean().default(false),
  })
  .refine(({ address, allow_plaintext }) => allow_plaintext || !isOrigin(address) || isProtected(address), {
    path: ['address'],
    error: 'sends tokens and secrets in the clear: use https://, or set allow_plaintext: true',
  });

/** The `secrets:` of an executor's config: where this host's secrets come from, which is one place. */
export const secretsConfig = z
  .strictObject({ directory: path.optional(), vault: vault.optional() })
  .transform(({ directory, vault }, context) => {
    if (directory !== undefined && vault === undefined) return { directory };
    if (vault !== undefined && directory === undefined) return { vault };
    context.addIssue('must have either directory or vault');
    return z.NEVER;
  });

export type SecretsConfig = z.output<typeof secretsConfig>;

/** The provider that a config asks for. Opens and asks nothing yet. `resolvePath` makes the config's paths absolute. */
export function createSecretProvider(
  config: SecretsConfig,
  resolvePath: (path: string) => string,
): SecretProvider {
  if (config.directory !== undefined) return createDirectoryProvider(resolvePath(config.directory));
  const { address, token_file, mount, prefix, field, version, ca } = config.vault;
  return createVaultProvider({
    address,
    mount,
    prefix,
    field,
    version,
    tokenFile: resolvePath(token_file),
    ...(ca === undefined ? {} : { ca: resolvePath(ca) }),
  });
}

function isOrigin(address: string): boolean {
  const url = URL.parse(address);
  // `http://host/?` and `http://@host` parse into empty parts.
  return url !== null && /^https?:$/.test(url.protocol) && /^[a-z]+:\/\/[^/?#@\\]+\/?$/i.test(address);
}

function isProtected(address: string): boolean {
  const url = URL.parse(address);
  return url?.protocol === 'https:' || isLoopback(url?.hostname ?? '');
}

// RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, RFC 6761 §6.3; the URL parser has brought numbers into their usual form.
function isLoopback(host: string): boolean {
  return /^127(?:\.\d+){3}$/.test(host) || host === '[::1]' || host === 'localhost';
}
