import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSigner, type Signer } from '@csc-fleet/common/crypto';
import { sha256Hex } from '@csc-fleet/common/encoding';
import {
  addFile,
  initRepository,
  type Lifetimes,
  publishStaged,
  rootBytes,
  signStaged,
} from '@csc-fleet/common/policy-repository';

export interface TestRepositoryOptions {
  /** Default: the system's clock, by which TUF's client goes in any case. */
  readonly now?: () => Date;
  readonly lifetimes?: Lifetimes;
  readonly seed?: number;
}

/** A policy repository of one owner, whose keys every test knows. */
export class TestRepository {
  readonly owner: Signer;
  readonly online: Signer;
  readonly directory: string;
  readonly #now: () => Date;
  readonly #lifetimes: Lifetimes | undefined;

  /**
   * @param directory is made
   * @param seed others make other keys
   */
  constructor(
    directory: string,
    { now = () => new Date(), lifetimes, seed = 1 }: TestRepositoryOptions = {},
  ) {
    this.owner = createSigner(Buffer.alloc(32, seed), 'owner');
    this.online = createSigner(Buffer.alloc(32, seed + 1), 'online');
    this.directory = directory;
    this.#now = now;
    this.#lifetimes = lifetimes;
    const keys = { publicKeys: [this.owner.publicKey], threshold: 1 };
    initRepository(directory, { root: keys, targets: keys, online: this.online.publicKey }, now(), lifetimes);
  }

  /** Publishes these files beside those that are there; an object is written as JSON, which is YAML. Gives the version. */
  publish(files: Readonly<Record<string, object | string>> = {}): number {
    for (const [name, content] of Object.entries(files))
      addFile(
        this.directory,
        name,
        Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)),
      );
    signStaged(this.directory, this.owner, this.#now(), this.#lifetimes);
    return publishStaged(this.directory, this.online, this.#now(), this.#lifetimes);
  }

  /** What hosts and gates pin. */
  get root(): Buffer {
    return rootBytes(this.directory);
  }

  /** A file of what is published: `metadata/timestamp.json`. */
  published(path: string): string {
    return join(this.directory, 'published', path);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

/**
 * Publishes a file as owners who have a later release sign it, which this release does not read, and so would not sign.
 * Gives the version.
 * @param directory of the owners, with something published
 */
export function publishUnread(
  directory: string,
  { owner, online }: Pick<TestRepository, 'owner' | 'online'>,
  name: string,
  content: string,
  now = new Date(),
): number {
  const metadata = join(directory, 'published/metadata');
  const versions = readdirSync(metadata).flatMap((it) => /^(\d+)\.targets\.json$/.exec(it)?.[1] ?? []);
  const newest = Math.max(...versions.map(Number));
  const { signed } = JSON.parse(readFileSync(join(metadata, `${newest}.targets.json`), 'utf8'));
  const file = { length: Buffer.byteLength(content), hashes: { sha256: sha256Hex(content) } };
  const targets = { ...signed.targets, [name]: file };
  mkdirSync(join(directory, 'staged'), { recursive: true });
  writeFileSync(
    join(directory, 'staged/targets.json'),
    JSON.stringify({ signed: { ...signed, version: newest + 1, targets }, signatures: [] }),
  );
  writeFileSync(join(directory, 'targets', name), content);
  // What stands there already is signed as it is.
  signStaged(directory, owner, now);
  return publishStaged(directory, online, now);
}

/** A freeze of everything, as the owners publish it. */
export const frozen = {
  freeze_version: 'csc.freeze.v0.1',
  frozen: { since: '2026-01-01T00:00:00Z', reason: 'the build host was broken into' },
};
