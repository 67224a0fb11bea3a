export { createSecretProvider, type SecretsConfig, secretsConfig } from './config.ts';
export { createDirectoryProvider } from './directory-provider.ts';
export { checkMaskable, createMask, type Mask } from './mask.ts';
export type { OutputMask } from './output-mask.ts';
export { maxSecretBytes, type ReadOptions, type SecretProvider } from './provider.ts';
export { checkSecretName } from './secret-name.ts';
export { type ReadSecrets, readSecrets, secretVariables } from './secrets.ts';
