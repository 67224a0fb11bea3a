import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';

export interface JobUser {
  readonly uid: number;
  readonly gid: number;
  /** Absent where the uid has no account. */
  readonly name?: string;
  /** The group's name; absent where it has none, or none was asked for. */
  readonly group?: string;
}

/** Whom jobs run as. */
export interface JobUsers {
  /** One for all runs, or several, of which no two runs have the same at a time. */
  readonly all: readonly [JobUser, ...JobUser[]];
  /**
   * True: it is a pool. Its users have one group, by which write scopes are reached, so that one run may change what
   * another one with another user has made.
   */
  readonly pooled: boolean;
}

/**
 * Whom jobs run as: an account's name or ids, or a pool of users with one group. `auto`, as absent: `csc-job` where there
 * is such an account, else 65534; for a service its owner has to say so (`checkRunAs` of the executor).
 */
export type RunAs =
  | string
  | { readonly uid: number; readonly gid: number }
  | { readonly auto: true }
  | RunAsPool;

/** Each run has a user that no other run has at that time. Users and group go by name, or by id without an account. */
export interface RunAsPool {
  readonly pool: readonly (string | number)[];
  readonly group: string | number;
}

/** What this host says of its users and groups. */
export interface Accounts {
  readonly users: readonly JobUser[];
  readonly groups: readonly Group[];
  /** By the users' names. */
  readonly shells?: ReadonlyMap<string, string>;
}

export interface Group {
  readonly name: string;
  readonly gid: number;
  /** The names of those who are in it beside the users whose own group it is. */
  readonly members: readonly string[];
}

const defaultAccount = 'csc-job';
const nobody: JobUser = { uid: 65534, gid: 65534, name: 'nobody' };

/** True where every run is to have a user of its own. */
export function isPool(runAs: RunAs | undefined): runAs is RunAsPool {
  return typeof runAs === 'object' && 'pool' in runAs;
}

/**
 * The host users of the jobs. An executor that is not root can run them as itself only. Throws SANDBOX_UNAVAILABLE for
 * root: as the host's uid 0, even without capabilities, a job may write hundreds of files below /proc.
 */
export function resolveJobUsers(
  runAs: RunAs | undefined,
  own: JobUser,
  accounts: Accounts = readAccounts(),
): JobUsers {
  const users = isPool(runAs) ? resolvePool(runAs, own, accounts) : [resolveOne(runAs, own, accounts.users)];
  const [first, ...others] = users;
  if (first === undefined) throw unavailable('the pool of run_as is empty: name at least one user');
  if (own.uid === 0 && users.some(({ uid, gid }) => uid === 0 || gid === 0))
    throw unavailable('jobs cannot run as root or in its group; set run_as to an account made for them');
  return { all: [first, ...others], pooled: isPool(runAs) };
}

const proxyAccount = 'csc-proxy';
// Below nobody and above what systemd hands out: no distribution gives these to anybody.
const highestFree = 65_533;
const lowestFree = 65_520;

/**
 * Whom the way to the network of a root executor's jobs runs as: `csc-proxy` where there is such an account, else an id
 * that is nobody's. An executor that is not root has only its own. Throws SANDBOX_UNAVAILABLE where no id is free.
 */
export function findProxyUser({ all }: JobUsers): JobUser {
  const own: JobUser = { uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
  if (own.uid !== 0) return own;
  const isJobs = ({ uid, gid }: JobUser): boolean => all.some((job) => job.uid === uid || job.gid === gid);
  const { users, groups } = readAccounts();
  const account = users.find(({ name }) => name === proxyAccount);
  if (account !== undefined && account.uid !== 0 && account.gid !== 0 && !isJobs(account)) return account;
  if (account !== undefined)
    throw unavailable(`${proxyAccount} must be neither root nor a user or group of the jobs`);
  const taken = new Set([...users.map(({ uid }) => uid), ...groups.map(({ gid }) => gid)]);
  for (let id = highestFree; id >= lowestFree; id -= 1) {
    if (!taken.has(id) && !isJobs({ uid: id, gid: id })) return { uid: id, gid: id };
  }
  throw unavailable(`no id is free for the proxy of the jobs' network: useradd --system ${proxyAccount}`);
}

function resolveOne(runAs: Exclude<RunAs, RunAsPool> | undefined, own: JobUser, users: readonly JobUser[]) {
  const wanted = runAs === undefined || isAuto(runAs) ? undefined : findUser(runAs, users);
  if (own.uid === 0) return wanted ?? users.find(({ name }) => name === defaultAccount) ?? nobody;
  if (wanted === undefined || wanted.uid === own.uid) {
    const name = own.name ?? users.find(({ uid }) => uid === own.uid)?.name;
    return name === undefined ? own : { ...own, name };
  }
  throw unavailable(
    `jobs cannot run as uid ${wanted.uid}: the executor is not root; start it as that user instead`,
  );
}

// Their group is the pool's, whatever an account's own is: what they make is of that group from the start.
function resolvePool({ pool, group }: RunAsPool, own: JobUser, { users, groups }: Accounts): JobUser[] {
  if (own.uid !== 0)
    throw unavailable('only a root executor can give each run a user of its own; leave run_as out');
  const { gid, name } = findGroup(group, groups);
  const named = name === undefined ? {} : { group: name };
  const found = pool.map((entry): JobUser => {
    const account = typeof entry === 'string' ? findUser(entry, users) : findById(entry, users);
    return { ...account, gid, ...named };
  });
  const twice = found.find(({ uid }, index) => found.findIndex((other) => other.uid === uid) !== index);
  if (twice === undefined) return found;
  throw unavailable(
    `the pool of run_as has uid ${twice.uid} twice: runs that share a user are not kept apart`,
  );
}

function findById(uid: number, users: readonly JobUser[]): Pick<JobUser, 'uid' | 'name'> {
  return users.find((account) => account.uid === uid) ?? { uid };
}

function findGroup(group: string | number, groups: readonly Group[]): { gid: number; name?: string } {
  const found = groups.find(({ name, gid }) => (typeof group === 'string' ? name === group : gid === group));
  if (found !== undefined) return { gid: found.gid, name: found.name };
  if (typeof group === 'number') return { gid: group };
  throw unavailable(
    `run_as names the group ${group}, which is not in /etc/group: groupadd --system ${group}`,
  );
}

function isAuto(runAs: RunAs): runAs is { readonly auto: true } {
  return typeof runAs === 'object' && 'auto' in runAs;
}

function findUser(runAs: Exclude<RunAs, RunAsPool | { auto: true }>, users: readonly JobUser[]): JobUser {
  if (typeof runAs !== 'string')
    return users.find((account) => account.uid === runAs.uid && account.gid === runAs.gid) ?? runAs;
  const account = users.find(({ name }) => name === runAs);
  if (account !== undefined) return account;
  throw unavailable(
    `run_as names ${runAs}, which is not in /etc/passwd: where it comes from elsewhere (LDAP), give its uid and gid`,
  );
}

/** Reads /etc/passwd and /etc/group (passwd(5), group(5)). */
export function readAccounts(): Accounts {
  const users = readFields('/etc/passwd');
  return {
    shells: new Map(users.map((fields) => [fields[0] ?? '', fields[6] ?? ''])),
    users: users.flatMap(([name, , uid, gid]) =>
      name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [],
    ),
    groups: readFields('/etc/group').flatMap(([name, , gid, members = '']) =>
      name && gid ? [{ name, gid: Number(gid), members: members.split(',').filter(Boolean) }] : [],
    ),
  };
}

// A hundred thousand accounts.
const maxAccountsBytes = 16 * 1024 * 1024;

function readFields(path: string): string[][] {
  return readBoundedFile(path, { maxBytes: maxAccountsBytes })
    .bytes.toString('utf8')
    .split('\n')
    .map((line) => line.split(':'));
}

function unavailable(message: string): CscError {
  return new CscError('SANDBOX_UNAVAILABLE', message);
}
