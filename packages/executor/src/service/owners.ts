import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '@csc-fleet/common/encoding';
import { isCscError } from '@csc-fleet/common/errors';
import { createPolicySet, type PolicySet } from '@csc-fleet/common/policy';
import {
  createDirectorySource,
  createPolicyMirror,
  type PolicyMirror,
  type PublishedPolicy,
  type RepositorySource,
} from '@csc-fleet/common/policy-repository';
import type { Log, LogFields } from '@csc-fleet/common/service';
import type { Owners, OwnersWord } from '../admission/owners.ts';
import { readPinnedRoot } from './owners-files.ts';

/** Where a host has its fleet's policy repository from. */
export interface RepositoryConfig {
  /** The root.json that this host's owner has pinned. */
  readonly root: string;
  /** `gate`, or the folder of a published repository. Neither is believed anything. */
  readonly from: string;
  /** How long ago it may have been signed that there is nothing newer. */
  readonly maxStalenessSec: number;
  /** How long ago the owners themselves may have signed. Absent: until what they signed expires. */
  readonly maxOwnersAgeSec?: number;
  /** How often something newer is asked for. */
  readonly refreshSec: number;
}

/** A host's owners, who may say something else at any time. */
export interface HostOwners extends Owners {
  /** Asks for something newer. Resolves once that counts, or is known not to; never rejects. */
  refresh(): Promise<void>;
  /** Somebody says that there is something newer: it is asked for, and what comes meanwhile is judged by it (`hearing`). */
  hearNews(): void;
  /** Called with the owners' word each time that it changes. */
  onChange(listener: (word: OwnersWord) => void): void;
  close(): void;
}

/** Owners whose policies lie in a plain folder: the gate is then trusted to say who may use which. */
export function createPlainOwners(policies: PolicySet): HostOwners {
  return {
    current: () => ({ policies }),
    refresh: () => Promise.resolve(),
    hearNews: () => undefined,
    onChange: () => undefined,
    close: () => undefined,
  };
}

/** Where a host keeps what it has fetched of its repository. */
export function repositoryDirectory(stateDir: string): string {
  return join(stateDir, 'policy');
}

/** What was fetched last, without asking anybody; undefined where there is nothing. Throws where it cannot be used. */
export function loadKnownWord(config: RepositoryConfig, directory: string): OwnersWord | undefined {
  const source = { fetch: () => Promise.resolve(undefined) };
  return createPolicyMirror({
    directory,
    pinnedRoot: readPinnedRoot(config.root),
    source,
    clock: systemClock,
    onDamage: (error) => {
      throw error;
    },
  }).load();
}

// What a host knows that has never heard from its repository: nobody may do anything.
const nothingHeard: OwnersWord = {
  policies: createPolicySet([]),
  bindings: { bindings: [] },
  refreshedAt: new Date(0),
};

export interface RepositoryOwnersOptions {
  readonly config: RepositoryConfig;
  /** Holds the last good version. */
  readonly directory: string;
  /** Where files come from where the config says `gate`. */
  readonly gate: RepositorySource;
  readonly log: Log;
}

/**
 * Owners who publish a repository. What was published last is known at once, also where nobody can be asked; what is new
 * counts as a whole, from one moment on. Throws FILE_UNREADABLE where the pinned root cannot be read.
 */
export function createRepositoryOwners(options: RepositoryOwnersOptions): HostOwners {
  const { config, directory, gate, log } = options;
  const pinnedRoot = readPinnedRoot(config.root);
  const source = config.from === 'gate' ? gate : createDirectorySource(config.from);
  const onDamage = (error: unknown) => log.warn({ error }, damageNote);
  const mirror = createPolicyMirror({ directory, pinnedRoot, source, clock: systemClock, onDamage });
  return new RepositoryOwners(mirror, config, log);
}

const damageNote =
  'the policy repository that was kept on disk cannot be used: it is fetched anew from the pinned root on, and what this host had seen no longer protects it from an older version';

const unkeptNote = 'what the owners say counts, and cannot be kept on disk: a restart may not know it';

// Between one look and the next.
const restMs = 250;
// After one that came to nothing, in milliseconds: what has been revoked meanwhile must not wait for the next regular look, which
// the owner of a host may have set to once a day, as nobody tells it a second time.
const firstRetryMs = 1_000;
const longestRetryMs = 60_000;
// As long as an offer may wait for it: a gate that never hands it over holds up its own offers alone.
const hearingMs = 5000;

class RepositoryOwners implements HostOwners {
  readonly #mirror: PolicyMirror;
  readonly #log: Log;
  readonly #listeners: ((word: OwnersWord) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  /** Undefined where nothing was ever heard. */
  #heard: PublishedPolicy | undefined;
  #work: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #hearing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = firstRetryMs;
  #isClosed = false;

  constructor(mirror: PolicyMirror, { refreshSec }: RepositoryConfig, log: Log) {
    this.#mirror = mirror;
    this.#log = log;
    this.#heard = mirror.load();
    this.#timer = setInterval(() => void this.refresh(), refreshSec * 1000).unref();
  }

  current(): OwnersWord {
    return this.#heard ?? nothingHeard;
  }

  // One after the other, as a mirror is written by one at a time; and whoever asks while another waits gets that one's
  // answer, so that a gate cannot have a host do nothing else.
  refresh(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#work.then(() => {
      this.#next = undefined;
      return this.#refresh();
    });
    this.#next = next;
    // Nobody waits for the rest, which keeps no process alive either.
    this.#work = next.then(() => sleep(restMs, undefined, { ref: false }));
    return next;
  }

  hearNews(): void {
    this.#retryMs = firstRetryMs;
    const heard = Promise.race([this.refresh(), sleep(hearingMs, undefined, { ref: false })]).then(() => {
      if (this.#hearing === heard) this.#hearing = undefined;
    });
    this.#hearing = heard;
  }

  hearing(): Promise<void> | undefined {
    return this.#hearing;
  }

  onChange(listener: (word: OwnersWord) => void): void {
    this.#listeners.push(listener);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
  }

  async #refresh(): Promise<void> {
    clearTimeout(this.#retry);
    const before = this.#heard;
    const heard = await this.#ask();
    if (this.#isClosed) return;
    if (heard === undefined || heard.unkept !== undefined) this.#retryLater();
    else this.#retryMs = firstRetryMs;
    // The version alone does not tell that it says something else.
    if (heard === undefined || heard.contentSha256 === before?.contentSha256) return;
    this.#log.info(toLogged(heard), 'the owners have published something new');
    for (const listener of this.#listeners) listener(heard);
  }

  #retryLater(): void {
    this.#retry = setTimeout(() => void this.refresh(), this.#retryMs).unref();
    this.#retryMs = Math.min(2 * this.#retryMs, longestRetryMs);
  }

  async #ask(): Promise<PublishedPolicy | undefined> {
    try {
      this.#heard = await this.#mirror.refresh();
      const { unkept } = this.#heard;
      if (unkept !== undefined) this.#log.error({ error: unkept }, unkeptNote);
      return this.#heard;
    } catch (error) {
      // Nobody answers a service that ends.
      if (this.#isClosed) return undefined;
      const code = isCscError(error) ? error.code : 'INTERNAL';
      const kept = this.#heard === undefined ? {} : toLogged(this.#heard);
      this.#log.warn({ error, code, ...kept }, 'the policy repository could not be refreshed');
      return undefined;
    }
  }
}

/** Which word it is, and how old: what a host's bounds are held against. */
function toLogged({ version, refreshedAt, signedAt, ownersSignedAt }: PublishedPolicy): LogFields {
  return {
    version,
    refreshedAt: refreshedAt.toISOString(),
    signedAt: signedAt?.toISOString(),
    ownersSignedAt: ownersSignedAt?.toISOString(),
  };
}
