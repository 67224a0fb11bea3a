import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkWritableDirectory } from '@csc-fleet/common/files';
import { endingSoon, tellEnding } from '@csc-fleet/common/identity';
import { checkPurpose, type TlsSource } from '@csc-fleet/common/rpc';
import type { ExecutorConfig } from './config.ts';
import { readCertifiedSigner } from './renewables.ts';
import { defaultKeyFile } from './signing-key.ts';

const probeMs = 10_000;

/**
 * Tries what of an executor's config reading its files has not: what its certificate is for, the state directory, the
 * receipt key with its certificates, where its secrets are. Starts and leaves nothing. Gives what its owner should look
 * at, for people. Throws what the start would, and SANDBOX_UNAVAILABLE for secrets that cannot be had.
 */
export async function checkExecutorConfig(
  config: ExecutorConfig,
  self: { readonly executorId: string; readonly identity: string; readonly tls: TlsSource },
): Promise<string[]> {
  checkPurpose(self.tls.material.own, 'client');
  const { stateDir, signingKey = join(stateDir, defaultKeyFile), secrets } = config;
  checkWritableDirectory(stateDir, `state_dir ${stateDir}`);
  // One that is not there yet is made by the first start.
  if (config.signingKey !== undefined || existsSync(signingKey)) readCertifiedSigner(config, self);
  secrets?.check?.();
  await secrets?.probe?.(AbortSignal.timeout(probeMs));
  return endingSoon(self.tls.certificates(), new Date()).map(tellEnding);
}
