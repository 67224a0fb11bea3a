import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Signer } from '@csc-fleet/common/crypto';
import { type Clock, sha256Hex, systemClock } from '@csc-fleet/common/encoding';
import { CscError } from '@csc-fleet/common/errors';
import { type OwnersKeys, readOwnersKeys } from '@csc-fleet/common/evidence';
import {
  createDirectorySource,
  createPolicyMirror,
  findDamage,
  type PolicyMirror,
  type PublishedPolicy,
  publishedStamp,
  type RepositorySource,
  refreshPublished,
} from '@csc-fleet/common/policy-repository';
import type { Log } from '@csc-fleet/common/service';

export interface RepositoryOptions {
  /** The owners' folder, or a copy of it: what lies in `published` is served. */
  readonly directory: string;
  /** Of the gate alone: the last version that verified. */
  readonly mirrorDirectory: string;
  /** The bytes of the root.json that the gate's owner has pinned. */
  readonly pinnedRoot: Uint8Array;
  /** Keeps what is published fresh. Absent: somebody else does. */
  readonly online?: Signer;
  /** How often. Default: every 5 minutes. */
  readonly resignSec?: number;
  readonly log: Log;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** What the owners have published, and whose keys sign for them. */
export type PublishedWord = PublishedPolicy & { readonly signers: OwnersKeys };

/** The owners' policy repository, as a gate takes it: served as it lies there, obeyed once it is verified. */
export interface GateRepository {
  /** What executors fetch. They verify it themselves, so that nothing here is vouched for. */
  readonly files: RepositorySource;
  /**
   * The first version: what is published, or what was verified last where that cannot be used. Throws as `refresh` of a
   * mirror.
   */
  open(): Promise<PublishedWord>;
  /**
   * Looks for something newer and gives it; undefined where there is nothing new, or nothing that can be used, which is
   * logged. One at a time.
   */
  look(): Promise<PublishedWord | undefined>;
  /** What was verified last, with the time that it is good for. */
  current(): PublishedPolicy | undefined;
  /** What its owner should look at, for people: what is wrong with what lies there, and that nobody signs any more that there is nothing newer. */
  warnings(): readonly string[];
  /** How much is wrong with what lies there: it cannot be taken, kept or kept fresh, or was changed. */
  faults(): number;
}

export function createGateRepository(options: RepositoryOptions): GateRepository {
  const { directory, mirrorDirectory, pinnedRoot, log, clock = systemClock } = options;
  const files = createDirectorySource(join(directory, 'published'));
  const onDamage = (error: unknown) => log.error({ error }, damageNote);
  const mirror = createPolicyMirror({
    directory: mirrorDirectory,
    pinnedRoot,
    source: files,
    clock,
    onDamage,
  });
  return new Repository(files, mirror, { ...options, clock });
}

const damageNote =
  'what was verified last cannot be read from disk: it is taken anew from the pinned root on, and an older version would not be noticed';

const faultMessages = {
  take: 'the policy repository cannot be taken as it is: what was verified last goes on',
  keep: 'what the owners say counts, and cannot be kept on disk: a restart may not know it',
  'keep fresh':
    'the policy repository cannot be refreshed with the online key: hosts will refuse it once it is too old',
  serve: 'THE PUBLISHED POLICY REPOSITORY HAS BEEN CHANGED by somebody who cannot sign it: hosts refuse it',
} as const;
type Doing = keyof typeof faultMessages;

const wellNote = 'what the owners have published is well again, and is what counts here';

function damagedMessage(names: readonly string[]): string {
  const [first = ''] = names;
  const more = names.length === 1 ? '' : ` and ${names.length - 1} more`;
  return `not what was signed: ${first}${more}; who may write there? csc policy publish, or a copy of what it has written, mends it`;
}

const unkeptNote =
  'nobody may be keeping the policies fresh: policy_repository has no online_key, though the key lies in keys/ of that folder. Without it somebody runs csc policy publish by a timer, or hosts take nothing more after a day (POLICY_STALE)';
const agedNote =
  'nobody signs any more that the policies are the newest: hosts take nothing more once that is older than their max_staleness_sec, a day where they say nothing (POLICY_STALE). Have csc policy publish run by a timer, or give this gate the online_key';
// Who publishes by a timer does it each hour, and hosts wait a day.
const agedMs = 6 * 3_600_000;

// Another root may name other keys for the same files.
function contentOf({ contentSha256, rootJson }: PublishedPolicy): string {
  return `${contentSha256} ${sha256Hex(rootJson)}`;
}

function toWord(published: PublishedPolicy): PublishedWord {
  return { ...published, signers: readOwnersKeys(published.rootJson) };
}

class Repository implements GateRepository {
  readonly files: RepositorySource;
  readonly #mirror: PolicyMirror;
  readonly #options: RepositoryOptions & { readonly clock: Clock };
  /** Of the timestamp that was verified last: a mirror writes all of its files anew, which is not to be done for nothing. */
  #seen: string | undefined;
  /** What the owners have signed that counts: a timestamp alone is nothing new. */
  #content: string | undefined;
  #current: PublishedPolicy | undefined;
  /** What was logged last of keeping fresh and of taking: each is said once, and not every few seconds. */
  readonly #faults = new Map<Doing, string>();
  /** Of the files when damage was looked for last. */
  #stamp: string | undefined;
  #wasAged = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(
    files: RepositorySource,
    mirror: PolicyMirror,
    options: RepositoryOptions & { readonly clock: Clock },
  ) {
    this.files = files;
    this.#mirror = mirror;
    this.#options = options;
  }

  async open(): Promise<PublishedWord> {
    const { directory, online, log } = this.#options;
    if (online === undefined && existsSync(join(directory, 'keys', 'online.key')))
      log.warn({ directory }, unkeptNote);
    const first = await this.#open();
    this.#lookForAge();
    return first;
  }

  async #open(): Promise<PublishedWord> {
    this.#keepFresh();
    this.#lookForDamage();
    try {
      const seen = await this.#timestamp();
      const first = await this.#take(seen);
      this.#content = contentOf(first);
      return toWord(first);
    } catch (error) {
      const known = this.#mirror.load();
      if (known === undefined) throw error;
      this.#fault('take', error);
      this.#content = contentOf(known);
      this.#current = known;
      return toWord(known);
    }
  }

  current(): PublishedPolicy | undefined {
    return this.#current;
  }

  warnings(): readonly string[] {
    const signedAt = this.#agedSince();
    return [
      ...[...this.#faults].map(([doing, text]) => `${faultMessages[doing]}: ${text}`),
      ...(signedAt === undefined ? [] : [`${agedNote}; it was signed last at ${signedAt.toISOString()}`]),
    ];
  }

  faults(): number {
    return this.#faults.size;
  }

  // With the key at hand, what keeps it from signing is said where that fails.
  #agedSince(): Date | undefined {
    const { online, clock } = this.#options;
    const { signedAt } = this.#current ?? {};
    if (online !== undefined || signedAt === undefined) return undefined;
    return clock.now().getTime() - signedAt.getTime() > agedMs ? signedAt : undefined;
  }

  #lookForAge(): void {
    const signedAt = this.#agedSince();
    if (signedAt !== undefined && !this.#wasAged)
      this.#options.log.warn({ signedAt: signedAt.toISOString() }, agedNote);
    this.#wasAged = signedAt !== undefined;
  }

  look(): Promise<PublishedWord | undefined> {
    const looking = this.#work.then(async () => {
      const wasFaulty = this.faults() > 0;
      const next = await this.#look();
      if (wasFaulty && this.faults() === 0) this.#options.log.info({}, wellNote);
      this.#lookForAge();
      return next;
    });
    this.#work = looking;
    return looking;
  }

  async #look(): Promise<PublishedWord | undefined> {
    this.#keepFresh();
    this.#lookForDamage();
    try {
      // Before the others are read: what is published meanwhile is looked at next time.
      const seen = await this.#timestamp();
      if (seen === this.#seen) {
        // What had been put in its place is gone again.
        this.#faults.delete('take');
        return undefined;
      }
      const next = await this.#take(seen);
      this.#faults.delete('take');
      if (contentOf(next) === this.#content) return undefined;
      this.#content = contentOf(next);
      return toWord(next);
    } catch (error) {
      this.#fault('take', error);
      return undefined;
    }
  }

  // What could not be kept is looked at again.
  async #take(seen: string): Promise<PublishedPolicy> {
    const next = await this.#mirror.refresh();
    this.#current = next;
    this.#seen = next.unkept === undefined ? seen : undefined;
    if (next.unkept === undefined) this.#faults.delete('keep');
    else this.#fault('keep', next.unkept);
    return next;
  }

  async #timestamp(): Promise<string> {
    return sha256Hex((await this.files.fetch('metadata/timestamp.json')) ?? new Uint8Array());
  }

  #keepFresh(): void {
    const { online, directory, clock, log, resignSec } = this.#options;
    if (online === undefined) return;
    const resign = resignSec === undefined ? {} : { resignMs: resignSec * 1000 };
    try {
      if (refreshPublished(directory, online, clock.now(), resign) === 'refreshed')
        log.info({}, 'the policy repository was refreshed with the online key');
      this.#faults.delete('keep fresh');
    } catch (error) {
      this.#fault('keep fresh', error);
    }
  }

  // Hosts refuse it, and would be the only ones to say so.
  #lookForDamage(): void {
    const { directory } = this.#options;
    const stamp = publishedStamp(directory);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    const damaged = findDamage(directory);
    if (damaged.length === 0) this.#faults.delete('serve');
    else this.#fault('serve', new CscError('POLICY_UNSIGNED', damagedMessage(damaged)));
  }

  #fault(doing: Doing, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    if (text === this.#faults.get(doing)) return;
    this.#faults.set(doing, text);
    this.#options.log.error({ error }, faultMessages[doing]);
  }
}
