import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSigner, type Signer } from '@csc-fleet/common/crypto';
import { sha256Hex } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import {
  addFile,
  createDirectorySource,
  createPolicyMirror,
  initRepository,
  type PolicyMirror,
  publishStaged,
  type RepositoryKeys,
  type RepositorySource,
  rootBytes,
  signStaged,
} from '@csc-fleet/common/policy-repository';
import {
  addSignature,
  createSnapshot,
  createTargets,
  createTimestamp,
  toBytes,
} from '../../packages/common/src/policy-repository/metadata.ts';

/** Alice and bob own the repository; carol and mallory do not. */
export const [alice, bob, carol, online, mallory] = ['alice', 'bob', 'carol', 'online', 'mallory'].map(
  (name, index) => createSigner(Buffer.alloc(32, index + 1), name),
) as [Signer, Signer, Signer, Signer, Signer];

export const two = { publicKeys: [alice.publicKey, bob.publicKey], threshold: 2 };
export const keys: RepositoryKeys = { root: two, targets: two, online: online.publicKey };

export const profile = (name: string, timeout = 60): Buffer =>
  Buffer.from(`policy_schema_version: csc.policy.v0.1
name: ${name}
allow_commands: [ls]
allowed_effect_types: [observe]
allowed_risk_classes: [low]
max_timeout_sec: ${timeout}
network: deny
allow_secret_refs: false
allowed_cwd_prefixes: [/workspace]
allowed_read_prefixes: [/workspace]
`);
export const bindings = Buffer.from(`bindings_version: csc.bindings.v0.2
bindings:
  - identity: spiffe://csc.local/client/*
    policies: [inspect]
`);

/** A repository of two owners, both of whom must sign: a profile and bindings are staged, and nothing is published. */
export class RepositoryOfTwo {
  /** All of it, and what tests make of it. */
  readonly root = mkdtempSync(join(tmpdir(), 'csc-repository-'));
  readonly owners = join(this.root, 'owners');
  readonly published = join(this.owners, 'published');
  now = new Date();

  constructor() {
    this.init();
  }

  /** Begins it anew, by the present time. */
  init(): void {
    rmSync(this.owners, { recursive: true, force: true });
    initRepository(this.owners, keys, this.now);
    addFile(this.owners, 'policies/inspect.yaml', profile('inspect'));
    addFile(this.owners, 'bindings.yaml', bindings);
  }

  publish(by: readonly Signer[] = [alice, bob]): number {
    for (const signer of by) signStaged(this.owners, signer, this.now);
    return publishStaged(this.owners, online, this.now);
  }

  /** Has mirrors begin with the root as it is now. */
  pin(): void {
    writeFileSync(join(this.root, 'pinned.json'), rootBytes(this.owners));
  }

  get pinned(): Buffer {
    return readFileSync(join(this.root, 'pinned.json'));
  }

  /** What a host has of it. */
  mirror(
    from: RepositorySource = createDirectorySource(this.published),
    more: Partial<Parameters<typeof createPolicyMirror>[0]> = {},
  ): PolicyMirror {
    return createPolicyMirror({
      directory: join(this.root, 'mirror'),
      pinnedRoot: this.pinned,
      source: from,
      clock: { now: () => this.now },
      ...more,
    });
  }

  /** What is published now, also later. */
  keep(name: string): RepositorySource {
    const copy = join(this.root, name);
    cpSync(this.published, copy, { recursive: true });
    return createDirectorySource(copy);
  }

  /** Publishes these as owners with other tools than ours may sign them. */
  publishTargets(files: ReadonlyMap<string, Uint8Array>, version: number): void {
    const expires = new Date(this.now.getTime() + 86_400_000);
    const write = (name: string, bytes: Uint8Array) => {
      writeFileSync(join(this.published, 'metadata', name), bytes);
      return bytes;
    };
    const targets = createTargets(files, { version, expires });
    for (const signer of [alice, bob]) addSignature(targets, signer);
    const targetsBytes = write(`${version}.targets.json`, toBytes(targets));
    const snapshot = createSnapshot(targetsBytes, version, 9, expires);
    addSignature(snapshot, online);
    const timestamp = createTimestamp(write('9.snapshot.json', toBytes(snapshot)), 9, {
      version: 9,
      expires,
    });
    addSignature(timestamp, online);
    write('timestamp.json', toBytes(timestamp));
    for (const [path, bytes] of files) {
      const [name = '', folder] = path.split('/').reverse();
      writeFileSync(join(this.published, 'targets', folder ?? '', `${sha256Hex(bytes)}.${name}`), bytes);
    }
  }

  remove(): void {
    rmSync(this.root, { recursive: true });
  }
}

/** The code that it is refused with. */
export async function refusal(act: () => unknown): Promise<string> {
  try {
    await act();
    return 'nothing was refused';
  } catch (error) {
    if (isCscError(error)) return error.code;
    throw error;
  }
}
