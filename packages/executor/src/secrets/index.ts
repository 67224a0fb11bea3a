export { createSecretProvider, type SecretsConfig, secretsConfig } from './config.ts';
export { createDirectoryProvider } from './directory-provider.ts';
export type { OutputMask } from './mask.ts';
export { checkMaskable, createMask, type Mask } from './mask.ts';
export { checkSecretName, maxSecretBytes, type ReadOptions, type SecretProvider } from './provider.ts';
export {
  noSecrets,
  type ReadSecrets,
  type RunSecrets,
  readRunSecrets,
  readSecrets,
  secretVariables,
} from './secrets.ts';
