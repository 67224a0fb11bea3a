import { CscError } from '@csc-fleet/common/errors';
import { endProcessesOf, hasPlainProcess } from './processes.ts';
import type { JobUser, JobUsers } from './run-as.ts';

/** Where a pool says what it had to do about its users. */
export interface PoolLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The host user of one run, for as long as it lasts. */
export interface UserLease {
  /** Absent in local mode: commands run as whoever the executor is. */
  readonly user?: JobUser;
  /** To be called once, when no process of the run is left. Does not reject. */
  giveBack(): Promise<void>;
}

/** Gives each run its host user. */
export interface JobUserLeases {
  /** True: `lease` may take its time, and what was checked before must be checked again. */
  readonly pooled: boolean;
  /** Throws QUEUE_FULL where no user becomes free. */
  lease(): Promise<UserLease>;
}

// A run that was refused has its sandbox taken down after its slot was given back.
const patienceMs = 5000;

/** Runs share one user, or, in local mode, have none. */
export function shareUser(user?: JobUser): JobUserLeases {
  const lease: UserLease = { ...(user === undefined ? {} : { user }), giveBack: async () => {} };
  return { pooled: false, lease: async () => lease };
}

/**
 * Gives each run a user that no other run has at that time: what the kernel counts and keeps by user (inotify instances,
 * pipes, keys, pending signals, message queues, RLIMIT_NPROC) is then the run's own, and no run may touch the other's.
 */
export class JobUserPool implements JobUserLeases {
  readonly pooled = true;
  readonly #free: JobUser[];
  readonly #waiting: ((user: JobUser) => void)[] = [];
  readonly #log: PoolLog;

  /** @param users no process of theirs is left, as `lockJobUsers` sees to */
  constructor({ all }: JobUsers, log: PoolLog) {
    this.#free = [...all];
    this.#log = log;
  }

  async lease(): Promise<UserLease> {
    const user = this.#free.shift() ?? (await this.#next());
    // Whoever started something as this user meanwhile must not find himself in the company of a job.
    if (hasPlainProcess(user.uid) && !(await this.#sweep(user))) return await this.lease();
    return { user, giveBack: () => this.#giveBack(user) };
  }

  // Longest unused first, so that a user rests for as long as it can.
  async #giveBack(user: JobUser): Promise<void> {
    if (!(await this.#sweep(user))) return;
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(user);
    else next(user);
  }

  async #sweep(user: JobUser): Promise<boolean> {
    const ended = await endProcessesOf(new Set([user.uid]));
    if (ended === undefined)
      this.#log.error({ uid: user.uid }, 'this job user has processes that do not end; it is not used again');
    else if (ended > 0) this.#log.warn({ uid: user.uid, ended }, 'ended what was left of a job user');
    return ended !== undefined;
  }

  #next(): Promise<JobUser> {
    return new Promise((resolve, reject) => {
      const take = (user: JobUser): void => {
        clearTimeout(timer);
        resolve(user);
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(new CscError('QUEUE_FULL', 'no user of the pool in run_as is free'));
      }, patienceMs);
      this.#waiting.push(take);
    });
  }
}
