import { createServer } from 'node:net';
import { readPrivateKey } from '@csc-fleet/common/crypto';
import { CscError, isCscError } from '@csc-fleet/common/errors';
import { checkWritableDirectory } from '@csc-fleet/common/files';
import { endingSoon, tellEnding } from '@csc-fleet/common/identity';
import { checkPurpose, readOwnIdentity, TlsSource } from '@csc-fleet/common/rpc';
import { readServiceRecord } from '@csc-fleet/common/service';
import { toWitnesses } from '../log/log-key.ts';
import { readWebhooks } from '../webhooks/config.ts';
import type { GateConfig } from './config.ts';
import { checkOwners } from './reload.ts';
import { hostAndPort } from './server.ts';

/**
 * Tries what a gate's config names, and starts and leaves nothing: policies, certificates with their roles, keys, the data
 * directory, the address. Gives what its owner should look at, for people. Throws what the start would.
 */
export async function checkGateConfig(config: GateConfig): Promise<string[]> {
  const warned = await checkOwners(config);
  const endings = config.tls === undefined ? [] : checkTls(config.tls);
  if (config.signingKey !== undefined) readPrivateKey(config.signingKey);
  readWebhooks(config.webhooks);
  toWitnesses(config.witnesses);
  const { dataDir, listen } = config;
  checkWritableDirectory(dataDir, `data_dir ${dataDir}`);
  if (config.ca !== undefined && config.tls !== undefined) {
    const { checkRenewable } = await import('@csc-fleet/common/ca');
    checkRenewable(config.tls.cert);
  }
  // Of a gate that runs, the address is its own.
  if (!isRunning(dataDir)) await checkFree(listen);
  return [...endings, ...warned];
}

function checkTls(files: NonNullable<GateConfig['tls']>): string[] {
  const source = new TlsSource(files);
  readOwnIdentity(files.cert, 'gate');
  checkPurpose(source.material.own, 'server');
  return endingSoon(source.certificates(), new Date()).map(tellEnding);
}

function isRunning(dataDir: string): boolean {
  try {
    return readServiceRecord(dataDir).process !== '';
  } catch (error) {
    if (isCscError(error)) return false;
    throw error;
  }
}

async function checkFree(listen: string): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(hostAndPort(listen), resolve);
    });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const why: Readonly<Record<string, string>> = {
      EADDRINUSE: 'something else listens there',
      EADDRNOTAVAIL: 'this host has no such address',
      EACCES: 'this user may not listen on that port',
      ENOTFOUND: 'there is no such host',
    };
    throw new CscError('CONFIG_INVALID', `listen: cannot listen on ${listen}: ${why[code] ?? code}`, {
      cause,
    });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
