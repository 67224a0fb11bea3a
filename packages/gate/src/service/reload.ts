import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  createReloadableSigner,
  createSigner,
  type ReloadableSigner,
  readPrivateKey,
} from '@csc-fleet/common/crypto';
import { artifactBytes } from '@csc-fleet/common/encoding';
import { CscError, isCscError, orThrow } from '@csc-fleet/common/errors';
import { looksOfFile, makeTemporaryDirectory, readBoundedFile } from '@csc-fleet/common/files';
import type { JsonLog } from '@csc-fleet/common/json-log';
import { checkBindings, parseBindings } from '@csc-fleet/common/policy';
import { readPolicyDirectory } from '@csc-fleet/common/policy-directory';
import { type Log, type LogFields, needRestart, type Renewable, silentLog } from '@csc-fleet/common/service';
import type { GateRepository, OwnersWord, ReloadableOwners } from '../owners/index.ts';
import { type GateConfig, type GateRepositoryConfig, readGateConfig } from './config.ts';

/** The policies and bindings that a config names, held against each other. Throws FILE_UNREADABLE, POLICY_INVALID. */
function readPlainWord({ policies: folder, bindings: file }: GateConfig): OwnersWord {
  if (folder === undefined || file === undefined)
    throw new CscError('CONFIG_INVALID', 'name policies and bindings, or a policy_repository');
  const policies = readPolicyDirectory(folder);
  const { bytes } = readBoundedFile(file, { maxBytes: artifactBytes.policy });
  const bindings = orThrow(parseBindings(bytes), 'POLICY_INVALID', file);
  checkBindings(bindings, policies);
  return { policies, bindings };
}

// What TUF's client takes.
const maxRootBytes = 512_000;

async function openRepository(
  { directory, root, onlineKey, resignSec }: GateRepositoryConfig,
  mirrorDirectory: string,
  log: Log,
): Promise<OpenRepository> {
  const { createGateRepository } = await import('../owners/repository.ts');
  const pinnedRoot = readBoundedFile(root, { maxBytes: maxRootBytes }).bytes;
  const online = onlineKey === undefined ? undefined : createReloadableSigner(readOnlineKey(onlineKey));
  const resign = resignSec === undefined ? {} : { resignSec };
  const signing = online === undefined ? {} : { online };
  const options = { directory, mirrorDirectory, pinnedRoot, log, ...signing, ...resign };
  const renewables =
    online === undefined || onlineKey === undefined ? [] : [renewableOnlineKey(onlineKey, online)];
  return { repository: createGateRepository(options), renewables };
}

interface OpenRepository {
  readonly repository: GateRepository;
  readonly renewables: readonly Renewable[];
}

function readOnlineKey(path: string) {
  return createSigner(readPrivateKey(path), 'online');
}

function renewableOnlineKey(path: string, signer: ReloadableSigner): Renewable {
  return {
    name: 'policy_repository.online_key',
    looks: () => looksOfFile(path),
    prepare: () => {
      const next = readOnlineKey(path);
      if (Buffer.compare(next.publicKey, signer.publicKey) === 0) return undefined;
      return () => signer.replace(next);
    },
  };
}

/** What the owners say first, and where more comes from where they publish it. */
export interface FirstWord {
  readonly word: OwnersWord;
  readonly repository?: GateRepository;
  /** What of it may be replaced while the gate runs. */
  readonly renewables: readonly Renewable[];
}

/** Throws FILE_UNREADABLE, POLICY_INVALID, KEY_INVALID, and what the refresh of a mirror does where there is no older version. */
export async function readFirstWord(config: GateConfig, log: Log): Promise<FirstWord> {
  if (config.policyRepository === undefined) return { word: readPlainWord(config), renewables: [] };
  const opened = await openRepository(config.policyRepository, join(config.dataDir, 'policy'), log);
  const word = await opened.repository.open();
  // No reason not to start: the owners may be about to change that key.
  await checkOnline(config.policyRepository).catch((error: unknown) => log.error({ error }, onlineNote));
  return { word, ...opened };
}

const onlineNote =
  'policy_repository.online_key cannot sign that what is published is the newest: hosts will find it too old';

async function checkOnline({ directory, onlineKey }: GateRepositoryConfig): Promise<void> {
  if (onlineKey === undefined) return;
  const { checkOnlineKey } = await import('@csc-fleet/common/policy-repository');
  try {
    checkOnlineKey(directory, readOnlineKey(onlineKey));
  } catch (cause) {
    if (!isCscError(cause, 'KEY_UNKNOWN')) throw cause;
    const message = `policy_repository.online_key: it is not the online key of the repository in ${directory}`;
    throw new CscError('CONFIG_INVALID', message, { cause });
  }
}

/** The same, with nothing written where the gate keeps its own, and nothing published. Gives what it would warn of. */
export async function checkOwners(config: GateConfig): Promise<string[]> {
  const { policyRepository } = config;
  if (policyRepository === undefined) {
    readPlainWord(config);
    return [];
  }
  const { onlineKey, ...rest } = policyRepository;
  const warned: string[] = [];
  const log = { ...silentLog, warn: (_: object, message: string) => void warned.push(message) };
  await checkOnline(policyRepository);
  const mirror = makeTemporaryDirectory('csc-policy-');
  try {
    await (await openRepository(rest, mirror, log)).repository.open();
    return onlineKey === undefined ? warned : [];
  } finally {
    rmSync(mirror, { recursive: true, force: true });
  }
}

/** What a reload puts something else into. */
export interface Reloadable {
  readonly owners: ReloadableOwners;
  readonly log: Pick<JsonLog, 'setLevel'>;
  /** Has the policy repository looked at. */
  readonly look: () => void;
}

/**
 * Reads config, policies and bindings once more. Gives what puts them into place, and then what to log of it. Throws what
 * they throw.
 */
export function createReload(
  configFile: string,
  config: GateConfig,
  { owners, log, look }: Reloadable,
): () => () => LogFields {
  return () => {
    const next = readGateConfig(configFile);
    const word = config.policyRepository === undefined ? readPlainWord(next) : undefined;
    return () => {
      // What a repository says counts as soon as it is verified, and not before.
      if (word === undefined) look();
      else owners.replace(word);
      log.setLevel(next.logLevel);
      return {
        policies: owners.policies.all().map(({ policy }) => policy.name),
        needs_restart: needRestart(config, next, ['policies', 'bindings', 'logLevel']),
      };
    };
  };
}

/** Looks for what the owners have published until what it returns is called: every few seconds, and whenever `look` is. */
export function followRepository(
  repository: GateRepository | undefined,
  refreshSec: number,
  take: (word: OwnersWord) => Promise<void>,
  log: Log,
): { look: () => void; stop: () => void } {
  if (repository === undefined) return { look: () => undefined, stop: () => undefined };
  let isStopped = false;
  const look = (): void => {
    repository
      .look()
      .then(async (published) => {
        if (published === undefined || isStopped) return;
        log.info({ version: published.version }, 'the owners have published something');
        await take(published);
      })
      .catch((error: unknown) => log.error({ error }, 'what the owners have published was not taken'));
  };
  const timer = setInterval(look, refreshSec * 1000).unref();
  return {
    look,
    stop: () => {
      isStopped = true;
      clearInterval(timer);
    },
  };
}
